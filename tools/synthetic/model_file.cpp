// Metadata keys and tensor bytes of a synthetic model.
#include "synthetic/model_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "base/numeric.hpp"
#include "base/parallel.hpp"
#include "formats/quant.hpp"
#include "synthetic/hash_blocks.hpp"
#include "synthetic/hash_weights.hpp"
#include "synthetic/tokenizer.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;
using formats::GgufWriter;

constexpr uint64_t kChunkElements = uint64_t{1} << 20;  // per thread; whole blocks of every type

/// general.file_type: a label for people, after ggml's list of presets.
uint32_t file_type_of(GgmlType type) {
  using enum GgmlType;
  constexpr std::pair<GgmlType, uint32_t> kLabels[] = {
      {f16, 1},    {q4_0, 2},   {q4_1, 3},   {q8_0, 7},   {q5_0, 8},    {q5_1, 9},    {q2_k, 10},
      {q3_k, 11},  {q4_k, 14},  {q5_k, 16},  {q6_k, 18},  {iq4_nl, 25}, {iq4_xs, 30}, {bf16, 32},
      {tq1_0, 36}, {tq2_0, 37}, {mxfp4, 38}, {nvfp4, 39}, {q1_0, 40},   {q2_0, 41}};
  for (const auto& [known, label] : kLabels) {
    if (known == type) return label;
  }
  return 0;
}

/// One number where all layers agree, as the usual converters write it.
void set_per_layer(std::string_view key, const std::vector<int32_t>& values, GgufWriter& writer) {
  const bool all_equal = std::ranges::count(values, values[0]) == std::ssize(values);
  if (all_equal) return writer.set_u32(key, static_cast<uint32_t>(values[0]));
  writer.set_array(key, std::span<const int32_t>(values));
}

/// The keys with a value for each layer, and those of the parts that only some models have.
void set_structure(const ModelShape& shape, const std::string& prefix, GgufWriter& writer) {
  std::vector<int32_t> n_kv, ffn;
  std::vector<bool> is_sliding;
  for (uint32_t layer = 0; layer < shape.n_layers; ++layer) {
    n_kv.push_back(static_cast<int32_t>(shape.n_kv(layer)));
    ffn.push_back(static_cast<int32_t>(shape.ffn_width(layer)));
    is_sliding.push_back(!shape.is_full(layer));
  }
  set_per_layer(prefix + "attention.head_count_kv", n_kv, writer);
  set_per_layer(prefix + "feed_forward_length", ffn, writer);
  writer.set_array(prefix + "attention.sliding_window_pattern", is_sliding);
  writer.set_u32(prefix + "attention.shared_kv_layers", shape.n_shared_kv);
  writer.set_u32(prefix + "embedding_length_per_layer_input", shape.per_layer);
  if (shape.is_drafter()) {
    writer.set_u32(prefix + "embedding_length_out", shape.target_hidden);
    writer.set_u32(prefix + "nextn_predict_layers", shape.n_layers);
  }
  if (shape.n_clusters != 0) writer.set_u32(prefix + "centroid_top_k", shape.n_clusters_used);
  if (shape.n_experts == 0) return;
  writer.set_u32(prefix + "expert_count", shape.n_experts);
  writer.set_u32(prefix + "expert_used_count", shape.n_experts_used);
  writer.set_u32(prefix + "expert_feed_forward_length", shape.expert_ffn);
}

void set_hyperparameters(const ModelShape& shape, GgmlType matrices, GgufWriter& writer) {
  const std::string architecture = shape.is_drafter() ? "gemma4-assistant" : "gemma4";
  const std::string prefix = architecture + ".";
  writer.set_string("general.architecture", architecture);
  writer.set_string("general.type", "model");
  writer.set_string("general.name", fmt::format("synthetic {}", shape.name));
  writer.set_u32("general.file_type", file_type_of(matrices));
  writer.set_u32("general.quantization_version", 2);
  writer.set_i32("general.sampling.top_k", 64);
  writer.set_f32("general.sampling.top_p", 0.95f);
  writer.set_f32("general.sampling.temp", 1.0f);
  writer.set_u32(prefix + "context_length", shape.context);
  writer.set_u32(prefix + "block_count", shape.n_layers);
  writer.set_u32(prefix + "embedding_length", shape.hidden);
  writer.set_u32(prefix + "vocab_size", shape.vocab);
  if (shape.softcap != 0) writer.set_f32(prefix + "final_logit_softcapping", shape.softcap);
  writer.set_u32(prefix + "attention.head_count", shape.n_heads);
  writer.set_u32(prefix + "attention.key_length", shape.head_dim_full);
  writer.set_u32(prefix + "attention.value_length", shape.head_dim_full);
  writer.set_u32(prefix + "attention.key_length_swa", shape.head_dim_sliding);
  writer.set_u32(prefix + "attention.value_length_swa", shape.head_dim_sliding);
  writer.set_u32(prefix + "attention.sliding_window", shape.window);
  writer.set_f32(prefix + "attention.layer_norm_rms_epsilon", shape.eps);
  writer.set_f32(prefix + "rope.freq_base", shape.rope_theta_full);
  writer.set_f32(prefix + "rope.freq_base_swa", shape.rope_theta_sliding);
  writer.set_u32(prefix + "rope.dimension_count", shape.head_dim_full);
  writer.set_u32(prefix + "rope.dimension_count_swa", shape.head_dim_sliding);
  set_structure(shape, prefix, writer);
}

void set_tokenizer(uint32_t vocab, GgufWriter& writer) {
  const Tokenizer tokenizer = make_tokenizer(vocab);
  const std::vector<float> scores(vocab, -1000.0f);
  writer.set_string("tokenizer.ggml.model", "gemma4");
  writer.set_array("tokenizer.ggml.tokens", std::span<const std::string>(tokenizer.pieces));
  writer.set_array("tokenizer.ggml.scores", std::span<const float>(scores));
  writer.set_array("tokenizer.ggml.token_type", std::span<const int32_t>(tokenizer.types));
  writer.set_array("tokenizer.ggml.merges", std::span<const std::string>(tokenizer.merges));
  writer.set_u32("tokenizer.ggml.padding_token_id", 0);
  writer.set_u32("tokenizer.ggml.eos_token_id", 1);
  writer.set_u32("tokenizer.ggml.bos_token_id", 2);
  writer.set_u32("tokenizer.ggml.unknown_token_id", 3);
  writer.set_u32("tokenizer.ggml.mask_token_id", 4);
  writer.set_bool("tokenizer.ggml.add_bos_token", true);
  writer.set_bool("tokenizer.ggml.add_space_prefix", false);
}

/// Divisors of the angles of a full head: 1 rotates, 1e30 stands still.
std::vector<float> rope_divisors(const ModelShape& shape) {
  std::vector<float> divisors(shape.head_dim_full / 2, 1e30f);
  const float n_rotating = shape.partial_rotary * static_cast<float>(shape.head_dim_full) / 2.0f;
  std::fill_n(divisors.begin(), static_cast<size_t>(n_rotating), 1.0f);
  return divisors;
}

/// The ids of the vocabulary by their hash.
std::vector<int32_t> make_ordering(const TensorSpec& tensor, uint64_t seed) {
  const HashStream stream(seed, tensor.hash_name);
  std::vector<int32_t> ids(tensor.ne[0]);
  std::iota(ids.begin(), ids.end(), 0);
  std::ranges::stable_sort(ids, {}, [&](int32_t id) { return stream.word(id); });
  return ids;
}

/// A tensor of the file.
struct StoredTensor {
  TensorSpec source;      // whose values it has, or whose scale it is
  GgmlType type;          // that the values are rounded to
  bool is_scale = false;  // one float32, source.name with another ending

  [[nodiscard]] std::string name() const {
    if (!is_scale) return source.name;
    return source.name.substr(0, source.name.rfind('.')) + ".scale";
  }
  [[nodiscard]] Affine map() const {
    return affine(source.hash_name, source.ne[0], source.is_full);
  }
  /// Of the whole matrix: the largest value of an nvfp4 one is the largest code times the largest
  /// scale of a block.
  [[nodiscard]] float scale() const {
    return type == GgmlType::nvfp4 ? map().spread / (6.0f * 448.0f) : 1.0f;
  }
};

/// What the usual quantisers do with a matrix for which `type` was asked: the router stays exact,
/// the projection of the per-layer inputs nearly so, and down projections may have rows that are no
/// whole super-blocks.
GgmlType stored_type(const TensorSpec& tensor, GgmlType type) {
  if (tensor.name.ends_with("ffn_gate_inp.weight")) return GgmlType::f32;
  const uint64_t block = formats::traits(type).block_elems;
  if (tensor.name == "per_layer_model_proj.weight" && block > 1) return GgmlType::bf16;
  const bool is_down = tensor.name.find(".ffn_down") != std::string::npos;
  return is_down && block == 256 && tensor.ne[0] % block != 0 ? GgmlType::q8_0 : type;
}

std::vector<StoredTensor> list_stored(const ModelShape& shape, const ModelTypes& types) {
  std::vector<StoredTensor> stored;
  size_t n_matrices = 0;
  for (const TensorSpec& tensor : list_tensors(shape)) {
    GgmlType type = tensor.is_ordering ? GgmlType::i32 : GgmlType::f32;
    if (tensor.name.ends_with("token_embd.weight")) {
      type = types.embedding;
    } else if (tensor.is_matrix) {
      type = stored_type(tensor, types.matrices[n_matrices++ % types.matrices.size()]);
    }
    stored.push_back({tensor, type});
    if (type == GgmlType::nvfp4 && !types.as_f32) stored.push_back({tensor, type, true});
  }
  return stored;
}

/// Bytes of any run of whole blocks of one tensor.
class TensorMaker {
 public:
  TensorMaker(uint64_t seed, const StoredTensor& stored, bool as_f32)
      : type_(stored.type),
        as_f32_(as_f32),
        scale_(stored.scale()),
        map_(stored.map()),
        half_(stored.source.half),
        matrix_elements_(half_ ? stored.source.ne[0] * stored.source.ne[1]
                               : stored.source.n_elements()),
        from_blocks_(is_always_blocks(type_) ||
                     (can_make_blocks(type_) &&
                      stored.source.n_elements() * (half_ ? 2 : 1) > kExactElements)),
        stream_(seed, from_blocks_ ? fmt::format("{}#{}", stored.source.hash_name,
                                                 formats::traits(type_).name)
                                   : stored.source.hash_name) {}

  void make(uint64_t first, uint64_t count, std::span<std::byte> bytes) const {
    if (!as_f32_) {
      make_blocks(first, count, bytes);
      return;
    }
    std::vector<std::byte> blocks(*formats::row_bytes(type_, count));
    make_blocks(first, count, blocks);
    std::vector<float> values(count);
    formats::dequantize_row(type_, blocks.data(), values.data(), count);
    for (float& value : values) value *= scale_;
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }

 private:
  /// Where element `at` is in the tensor whose hash this is.
  [[nodiscard]] uint64_t hash_index(uint64_t at) const {
    if (!half_) return at;
    return (2 * (at / matrix_elements_) + *half_) * matrix_elements_ + at % matrix_elements_;
  }

  void make_blocks(uint64_t first, uint64_t count, std::span<std::byte> bytes) const {
    const formats::GgmlTraits& traits = formats::traits(type_);
    for (uint64_t done = 0; done < count;) {
      const uint64_t at = first + done;
      const uint64_t run = std::min(count - done, matrix_elements_ - at % matrix_elements_);
      const uint64_t n_bytes = run / traits.block_elems * traits.block_bytes;
      make_run(hash_index(at), run, bytes.first(n_bytes));
      bytes = bytes.subspan(n_bytes);
      done += run;
    }
  }

  void make_run(uint64_t first, uint64_t count, std::span<std::byte> bytes) const {
    if (from_blocks_) {
      const uint64_t first_block = first / formats::traits(type_).block_elems;
      fill_blocks(type_, stream_, map_.spread, first_block, bytes);
      return;
    }
    std::vector<float> values(count);
    fill_values(stream_, map_, first, values);
    if (scale_ != 1.0f) {
      for (float& value : values) value /= scale_;
    }
    formats::quantize_row(type_, values.data(), bytes.data(), count);
  }

  GgmlType type_;
  bool as_f32_;
  float scale_;
  Affine map_;
  std::optional<uint32_t> half_;
  uint64_t matrix_elements_;  // of what is one run of the hash: a matrix of halves, or the tensor
  bool from_blocks_;
  HashStream stream_;
};

/// A chunk for each thread at a time, pushed in order.
Status push_tensor(const TensorMaker& maker, GgmlType type, uint64_t n_elements,
                   const formats::ByteSink& sink) {
  const formats::GgmlTraits& traits = formats::traits(type);
  const auto bytes_of = [&](uint64_t n) { return n / traits.block_elems * traits.block_bytes; };
  const uint32_t n_threads = thread_count(0);
  std::vector<std::byte> buffer;
  for (uint64_t done = 0; done < n_elements;) {
    const uint64_t count = std::min(n_elements - done, n_threads * kChunkElements);
    buffer.resize(bytes_of(count));
    const std::span<std::byte> bytes(buffer);
    parallel_for(div_up(count, kChunkElements), n_threads, [&](uint64_t chunk) {
      const uint64_t first = chunk * kChunkElements;
      const uint64_t n = std::min(kChunkElements, count - first);
      maker.make(done + first, n, bytes.subspan(bytes_of(first), bytes_of(n)));
    });
    KL_TRY(sink(bytes));
    done += count;
  }
  return {};
}

/// Whether a layer of the same kind has keys and values to share.
bool has_donor(const ModelShape& shape, uint32_t layer) {
  for (uint32_t other = 0; shape.owns_kv(other) && other < layer; ++other) {
    if (shape.is_full(other) == shape.is_full(layer)) return true;
  }
  return false;
}

Status check(const ModelShape& shape, const ModelTypes& types) {
  if (shape.vocab < kMinVocab) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("vocabulary: at least {}, asked for {}", kMinVocab, shape.vocab)};
  }
  if (shape.n_layers == 0) {
    return Error{ErrorCode::invalid_argument, "layers: at least 1, asked for 0"};
  }
  for (uint32_t layer = 0; layer < shape.n_layers; ++layer) {
    if (shape.is_drafter() || shape.owns_kv(layer) || has_donor(shape, layer)) continue;
    return Error{ErrorCode::invalid_argument,
                 fmt::format("layers: of {}, the last {} share keys and values, but none before "
                             "them is of the kind of layer {}",
                             shape.n_layers, shape.n_shared_kv, layer)};
  }
  std::vector<GgmlType> all(types.matrices);
  all.push_back(types.embedding);
  for (const GgmlType type : all) {
    if (formats::can_quantize(type)) continue;
    return Error{
        ErrorCode::invalid_argument,
        fmt::format("type {}: cannot be made; every type that models are stored in can, but the "
                    "codebooks iq1, iq2 and iq3",
                    formats::traits(type).name)};
  }
  return {};
}

}  // namespace

Status write_model(const ModelShape& shape, uint64_t seed, ModelTypes types,
                   const std::string& path, const formats::WriteProgress& progress) {
  KL_TRY(check(shape, types));
  GgufWriter writer;
  set_hyperparameters(shape, types.as_f32 ? GgmlType::f32 : types.matrices[0], writer);
  set_tokenizer(shape.vocab, writer);
  const std::vector<StoredTensor> tensors = list_stored(shape, types);
  const auto type_of = [&](const StoredTensor& stored) {
    return types.as_f32 && !stored.source.is_ordering ? GgmlType::f32 : stored.type;
  };
  const std::array<uint64_t, 1> one{1};
  for (const StoredTensor& stored : tensors) {
    const auto ne = stored.is_scale ? std::span<const uint64_t>(one) : stored.source.ne;
    KL_TRY(writer.add_tensor(stored.name(), stored.is_scale ? GgmlType::f32 : type_of(stored), ne));
  }
  const auto source = [&](size_t index, const formats::ByteSink& sink) -> Status {
    const StoredTensor& stored = tensors[index];
    if (stored.is_scale) {
      const float scale = stored.scale();
      return sink(std::as_bytes(std::span(&scale, 1)));
    }
    if (stored.source.is_ordering) {
      const std::vector<int32_t> ids = make_ordering(stored.source, seed);
      return sink(std::as_bytes(std::span(ids)));
    }
    if (stored.source.name == "rope_freqs.weight") {
      const std::vector<float> divisors = rope_divisors(shape);
      return sink(std::as_bytes(std::span<const float>(divisors)));
    }
    if (types.hollow && stored.source.is_matrix) return {};
    return push_tensor(TensorMaker(seed, stored, types.as_f32), type_of(stored),
                       stored.source.n_elements(), sink);
  };
  if (types.hollow) return writer.write_hollow(path, source);
  return writer.write(path, source, progress);
}

std::vector<float> make_values(const ModelShape& shape, uint64_t seed, const TensorSpec& tensor) {
  if (tensor.name == "rope_freqs.weight") return rope_divisors(shape);
  std::vector<float> values(tensor.n_elements());
  TensorMaker(seed, {tensor, GgmlType::f32}, /*as_f32=*/false)
      .make(0, values.size(), std::as_writable_bytes(std::span(values)));
  return values;
}

}  // namespace kimberlite::synthetic
