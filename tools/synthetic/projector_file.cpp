#include "synthetic/projector_file.hpp"

#include "formats/convert_media.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/quant.hpp"
#include "synthetic/hash_weights.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;

constexpr double kEps = 1e-6;

GgmlType stored_type(const TensorSpec& tensor, GgmlType type) {
  if (!tensor.is_matrix) return GgmlType::f32;
  const bool is_table = tensor.name.starts_with("v.position_embd");
  if (tensor.ne[0] % formats::traits(type).block_elems != 0) return GgmlType::f16;
  return is_table && formats::traits(type).block_elems > 1 ? GgmlType::f16 : type;
}

formats::HfMediaConfig config_of(const ProjectorShape& shape) {
  formats::HfMediaConfig config{};
  config.hidden = shape.target_hidden;
  if (shape.tower) {
    const TowerShape& tower = *shape.tower;
    config.tower = formats::HfTowerConfig{.patch = TowerShape::kPatch,
                                          .merge = 3,
                                          .width = shape.hidden,
                                          .ffn = tower.ffn,
                                          .n_layers = tower.n_layers,
                                          .n_heads = tower.n_heads,
                                          .n_positions = shape.n_positions,
                                          .clips = tower.clips,
                                          .standardises = tower.standardises,
                                          .rms_eps = kEps};
  } else if (shape.vision) {
    config.vision = formats::HfVisionConfig{.patch = 16,
                                            .merge = 3,
                                            .width = shape.hidden,
                                            .n_positions = shape.n_positions,
                                            .rms_eps = kEps};
  }
  if (shape.audio) {
    config.audio = formats::HfAudioConfig{.frame = ProjectorShape::kFrameSamples, .rms_eps = kEps};
  }
  if (shape.conformer) {
    const ConformerShape& conformer = *shape.conformer;
    config.conformer = formats::HfConformerConfig{
        .width = conformer.hidden,
        .n_layers = conformer.n_layers,
        .n_heads = conformer.n_heads,
        .channels = {ConformerShape::kFirstChannels, conformer.n_channels},
        .output = conformer.output,
        .clips = true};
  }
  return config;
}

/// Adds tensors in the order of the file.
class TensorList {
 public:
  void add(std::string name, std::vector<uint64_t> ne) {
    const bool is_matrix = ne.size() >= 2;
    tensors_.push_back({name, std::move(ne), false, is_matrix, name});
  }
  void add_linear(const std::string& stem, uint64_t n_in, uint64_t n_out, bool clips) {
    add(stem + ".weight", {n_in, n_out});
    if (!clips) return;
    for (const char* bound : {".input_min", ".input_max", ".output_min", ".output_max"}) {
      add(stem + bound, {1});
    }
  }
  void append(const std::vector<TensorSpec>& tensors) {
    tensors_.insert(tensors_.end(), tensors.begin(), tensors.end());
  }
  [[nodiscard]] std::vector<TensorSpec> take() { return std::move(tensors_); }

 private:
  std::vector<TensorSpec> tensors_;
};

void add_tower_layer(const ProjectorShape& shape, uint32_t index, TensorList& list) {
  const TowerShape& tower = *shape.tower;
  const uint64_t hidden = shape.hidden;
  const std::string name = "v.blk." + std::to_string(index) + ".";
  for (const char* norm : {"ln1", "attn_post_norm", "ln2", "ffn_post_norm"}) {
    list.add(name + norm + ".weight", {hidden});
  }
  for (const char* norm : {"attn_q_norm", "attn_k_norm"}) {
    list.add(name + norm + ".weight", {hidden / tower.n_heads});
  }
  for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_out"}) {
    list.add_linear(name + part, hidden, hidden, tower.clips);
  }
  list.add_linear(name + "ffn_gate", hidden, tower.ffn, tower.clips);
  list.add_linear(name + "ffn_up", hidden, tower.ffn, tower.clips);
  list.add_linear(name + "ffn_down", tower.ffn, hidden, tower.clips);
}

void add_tower(const ProjectorShape& shape, TensorList& list) {
  constexpr uint64_t kSide = TowerShape::kPatch;
  list.add("v.patch_embd.weight", {kSide, kSide, 3, shape.hidden});
  list.add("v.position_embd.weight", {shape.hidden, shape.n_positions, 2});
  for (uint32_t i = 0; i < shape.tower->n_layers; ++i) add_tower_layer(shape, i, list);
  if (shape.tower->standardises) {
    list.add("v.std_bias", {shape.hidden});
    list.add("v.std_scale", {shape.hidden});
  }
  list.add("mm.input_projection.weight", {shape.hidden, shape.target_hidden});
}

void add_plain_vision(const ProjectorShape& shape, TensorList& list) {
  const uint64_t hidden = shape.hidden;
  const uint64_t values = ProjectorShape::kPatchValues;
  list.add("v.patch_embd.weight", {values, hidden});
  list.add("v.patch_embd.bias", {hidden});
  for (const auto& [norm, n] : {std::pair{"1", values}, {"2", hidden}, {"3", hidden}}) {
    for (const char* part : {".weight", ".bias"}) {
      list.add(std::string("v.patch_norm.") + norm + part, {n});
    }
  }
  list.add("v.position_embd.weight", {hidden, shape.n_positions, 2});
  list.add("mm.input_projection.weight", {hidden, shape.target_hidden});
}

/// The values of an output: of all axes but the last of a convolution's kernel.
uint64_t row_length(const TensorSpec& tensor) {
  return tensor.ne.size() == 4 ? tensor.ne[0] * tensor.ne[1] * tensor.ne[2] : tensor.ne[0];
}

/// The encoder of E2B and E4B, and that of 26B and 31B.
ProjectorShape small_tower(uint32_t target_hidden) {
  return {target_hidden,
          768,
          10240,
          true,
          false,
          TowerShape{16, 12, 3072, true, false},
          ConformerShape{1024, 12, 8, 32, 1536}};
}
ProjectorShape large_tower(uint32_t target_hidden) {
  return {target_hidden, 1152, 10240, true, false, TowerShape{27, 16, 4304, false, true}};
}

}  // namespace

std::optional<ProjectorShape> find_projector_shape(std::string_view name) {
  if (name == "tiny12-projector") return ProjectorShape{96, 64, 24};
  if (name == "12b-projector") return ProjectorShape{3840, 3840, 1120};
  if (name == "tiny-e2b-projector") {
    return ProjectorShape{256, 128, 36, true, false, TowerShape{2, 2, 224, true, false}};
  }
  if (name == "tiny-e2b-sounds-projector") {
    return ProjectorShape{256, 0, 0, false, false, std::nullopt, ConformerShape{64, 2, 2, 8, 96}};
  }
  if (name == "tiny26-projector") {
    return ProjectorShape{256, 144, 36, true, false, TowerShape{3, 2, 172, false, true}};
  }
  if (name == "e2b-projector") return small_tower(1536);
  if (name == "e4b-projector") return small_tower(2560);
  if (name == "26b-projector") return large_tower(2816);
  if (name == "31b-projector") return large_tower(5376);
  return std::nullopt;
}

std::vector<TensorSpec> list_projector_tensors(const ProjectorShape& shape) {
  TensorList list;
  if (shape.tower) {
    add_tower(shape, list);
  } else if (shape.vision) {
    add_plain_vision(shape, list);
  }
  if (shape.audio) {
    list.add("mm.a.input_projection.weight", {ProjectorShape::kFrameSamples, shape.target_hidden});
  }
  if (shape.conformer) {
    list.append(list_conformer_tensors(*shape.conformer));
    list.add("mm.a.input_projection.weight", {shape.conformer->output, shape.target_hidden});
  }
  return list.take();
}

Status write_projector(const ProjectorShape& shape, uint64_t seed, GgmlType type,
                       const std::string& path) {
  formats::GgufWriter writer;
  formats::write_hf_media(config_of(shape), writer);
  writer.set_string("general.type", "mmproj");
  writer.set_string("general.name", "synthetic projector");
  std::vector<TensorSpec> tensors = list_projector_tensors(shape);
  for (TensorSpec& tensor : tensors) {
    // Blocks need whole rows.
    if (tensor.is_matrix && tensor.ne.size() == 4 && formats::traits(type).block_elems > 1) {
      tensor.ne = {row_length(tensor), tensor.ne[3]};
    }
  }
  for (const TensorSpec& tensor : tensors) {
    KL_TRY(writer.add_tensor(tensor.name, stored_type(tensor, type), tensor.ne));
  }
  const auto source = [&](size_t index, const formats::ByteSink& sink) -> Status {
    const TensorSpec& tensor = tensors[index];
    const std::vector<float> values = make_projector_values(seed, tensor);
    const GgmlType stored = stored_type(tensor, type);
    std::vector<std::byte> bytes(*formats::row_bytes(stored, values.size()));
    formats::quantize_row(stored, values.data(), bytes.data(), values.size());
    return sink(bytes);
  };
  return writer.write(path, source, {});
}

std::vector<float> make_projector_values(uint64_t seed, const TensorSpec& tensor) {
  std::vector<float> values(tensor.n_elements());
  fill_values(HashStream(seed, tensor.name), affine(tensor.name, row_length(tensor), false), 0,
              values);
  return values;
}

std::vector<float> make_media(uint64_t seed, std::string_view name, uint64_t n, bool sound) {
  std::vector<float> values(n);
  const Affine map = sound ? Affine{0.0f, 1.0f} : Affine{0.5f, 0.5f};
  fill_values(HashStream(seed, name), map, 0, values);
  return values;
}

}  // namespace kimberlite::synthetic
