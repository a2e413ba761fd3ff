#include "model/weight_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/numeric.hpp"
#include "model/drafter_weights.hpp"
#include "model/weights.hpp"

namespace kimberlite::model {
namespace {

/// The scale that a matrix may have besides those of its blocks: blk.0.attn_q.weight has
/// blk.0.attn_q.scale. NVFP4 needs it, because its own scales have a small range.
std::string scale_name(std::string_view matrix) {
  constexpr std::string_view kEnding = ".weight";
  return std::string(matrix.substr(0, matrix.size() - kEnding.size())) + ".scale";
}

/// What a file with this type is refused with.
std::string refusal(formats::GgmlType type) {
  using enum formats::GgmlType;
  const std::string_view name = formats::traits(type).name;
  switch (type) {
    case iq1_s:
    case iq1_m:
    case iq2_xxs:
    case iq2_xs:
    case iq2_s:
      return fmt::format("type {} is not supported; take a file in q2_k or iq4_xs instead", name);
    case iq3_xxs:
    case iq3_s:
      return fmt::format("type {} is not supported; take a file in q3_k or iq4_xs instead", name);
    default:
      return fmt::format("type {} is not one that weights have", name);
  }
}

/// Rows of all experts count as rows of one matrix.
RowPart all_rows(const formats::TensorInfo& source) {
  return {&source, 0, source.n_elements() / source.ne[0]};
}

/// Whether two matrices may be packed as one. NVFP4 has a scale for each.
bool can_join(const formats::TensorInfo& a, const formats::TensorInfo& b) {
  return a.type == b.type && a.type != formats::GgmlType::nvfp4;
}

/// Slowest axis first, without trailing ones of the file's four dimensions.
std::vector<uint64_t> shape_of(const formats::TensorInfo& tensor) {
  return {tensor.ne.rend() - tensor.n_dims, tensor.ne.rend()};
}

}  // namespace

Result<WeightTable> WeightTable::make(const formats::GgufFile& file, const ModelConfig& config,
                                      const vk::Caps& caps, const LinearPolicy& linear,
                                      Weights& weights) {
  WeightTable table(file, caps, linear);
  weights.layers_.resize(config.n_layers);
  KL_TRY(table.add_matrix("token_embd.weight", WeightEntry::kShared, config.n_vocab, config.width,
                          weights.embedding_));
  table.entries_.back().is_embedding = true;
  if (file.find_tensor("output.weight") != nullptr) {
    KL_TRY(table.add_matrix("output.weight", WeightEntry::kShared, config.n_vocab, config.width,
                            weights.head_));
    table.entries_.back().is_head = true;
  }
  KL_TRY(table.add_vector("output_norm.weight", WeightEntry::kShared, config.width,
                          weights.output_norm_));
  if (config.per_layer_width != 0) KL_TRY(table.add_per_layer(config, weights));
  for (uint32_t i = 0; i < config.n_layers; ++i) {
    KL_TRY(table.add_layer(i, config, weights.layers_[i]));
  }
  return table;
}

Result<WeightTable> WeightTable::make(const formats::GgufFile& file, const DrafterConfig& config,
                                      const vk::Caps& caps, const LinearPolicy& linear,
                                      DrafterWeights& weights) {
  WeightTable table(file, caps, linear);
  const ModelConfig& text = config.text;
  constexpr uint32_t kShared = WeightEntry::kShared;
  KL_TRY(table.add_matrix("nextn.pre_projection.weight", kShared, text.width,
                          uint64_t{2} * config.target_width, weights.pre_projection_));
  KL_TRY(table.add_matrix("nextn.post_projection.weight", kShared, config.target_width, text.width,
                          weights.post_projection_));
  KL_TRY(table.add_vector("output_norm.weight", kShared, text.width, weights.output_norm_));
  weights.layers_.resize(text.n_layers);
  for (uint32_t i = 0; i < text.n_layers; ++i) {
    KL_TRY(table.add_layer(i, text, weights.layers_[i]));
    // Optional in a model; no drafter lacks it.
    KL_ASSIGN([[maybe_unused]] const auto* scale,
              table.find(fmt::format("blk.{}.layer_output_scale.weight", i), {1}));
  }
  if (config.clusters.n != 0) {
    KL_TRY(table.add_cluster_head(config, weights));
  } else {
    KL_TRY(table.add_matrix("token_embd.weight", kShared, text.n_vocab, text.width, weights.head_));
  }
  return table;
}

/// The head with its rows in the order of the clusters, each of which starts a panel.
Status WeightTable::add_cluster_head(const DrafterConfig& config, DrafterWeights& weights) {
  constexpr uint32_t kShared = WeightEntry::kShared;
  const ClusterConfig& clusters = config.clusters;
  const uint32_t n_vocab = config.text.n_vocab;
  KL_TRY(add_matrix("masked_embd_centroids.weight", kShared, clusters.n, config.text.width,
                    weights.centroids_));
  KL_ASSIGN(const formats::TensorInfo* source, find("masked_embd_ordering", {n_vocab}));
  KL_ASSIGN(const std::vector<uint32_t> tokens, read_ordering(*source));
  std::vector<uint32_t> order(uint64_t{clusters.n} * clusters.n_rows(), WeightEntry::kNoRow);
  std::vector<uint32_t> rows(n_vocab);
  for (uint32_t i = 0; i < n_vocab; ++i) {
    const uint32_t row = i / clusters.n_tokens * clusters.n_rows() + i % clusters.n_tokens;
    order[row] = tokens[i];
    rows[tokens[i]] = row;
  }
  WeightEntry entry;
  entry.name = source->name;
  entry.sources = {source};
  entry.words = std::move(rows);
  entry.vector = &weights.token_rows_;
  entry.range_bytes = {n_vocab * sizeof(uint32_t)};
  weights.token_rows_.dtype = graph::DType::u32;
  weights.token_rows_.shape = graph::Shape{n_vocab};
  entries_.push_back(std::move(entry));

  const std::string head = "token_embd.weight";
  KL_ASSIGN(const formats::TensorInfo* table, find_experts(head, {n_vocab, config.text.width}));
  KL_TRY(pack(head, kShared, {all_rows(*table)}, /*gated=*/false, weights.head_, std::move(order)));
  entries_.back().experts = true;
  return {};
}

/// A permutation of the token ids.
Result<std::vector<uint32_t>> WeightTable::read_ordering(const formats::TensorInfo& tensor) const {
  if (tensor.type != formats::GgmlType::i32) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: {}: expected i32, file has {}", file_->path(), tensor.name,
                             formats::traits(tensor.type).name)};
  }
  const uint64_t n = tensor.n_elements();
  std::vector<uint32_t> tokens(n);
  std::vector<bool> seen(n);
  for (uint64_t i = 0; i < n; ++i) {
    tokens[i] = load<uint32_t>(tensor.data.data() + i * sizeof(uint32_t));
    if (tokens[i] >= n || seen[tokens[i]]) {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: {}: entry {} is {}, expected each token id below {} once",
                               file_->path(), tensor.name, i, tokens[i], n)};
    }
    seen[tokens[i]] = true;
  }
  return tokens;
}

Status WeightTable::add_per_layer(const ModelConfig& config, Weights& all) {
  PerLayerWeights& weights = all.per_layer_;
  const uint64_t width = uint64_t{config.n_layers} * config.per_layer_width;
  KL_TRY(add_matrix("per_layer_token_embd.weight", WeightEntry::kTable, config.n_vocab, width,
                    weights.table));
  KL_TRY(add_matrix("per_layer_model_proj.weight", WeightEntry::kShared, width, config.width,
                    weights.proj));
  return add_vector("per_layer_proj_norm.weight", WeightEntry::kShared, config.per_layer_width,
                    weights.norm);
}

Status WeightTable::add_attention(uint32_t index, const ModelConfig& config,
                                  LayerWeights& weights) {
  const LayerConfig& layer = config.layers[index];
  const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}", index, part); };
  KL_TRY(add_vector(name("attn_q_norm.weight"), index, layer.head_dim, weights.q_norm));
  KL_TRY(add_matrix(name("attn_output.weight"), index, config.width, layer.q_width(), weights.o));
  const Wanted q{name("attn_q.weight"), layer.q_width(), &weights.q};
  // A layer that reads another one's K and V may have projections of its own in the file: unused.
  if (layer.kv_layer != index) return add_joined(index, config.width, {q});
  KL_TRY(add_vector(name("attn_k_norm.weight"), index, layer.head_dim, weights.k_norm));
  const Wanted k{name("attn_k.weight"), layer.kv_width(), &weights.k};
  if (layer.k_is_v) return add_joined(index, config.width, {q, k});
  const Wanted v{name("attn_v.weight"), layer.kv_width(), &weights.v};
  return add_joined(index, config.width, {q, k, v});
}

Status WeightTable::add_experts(uint32_t index, const ModelConfig& config, ExpertWeights& weights) {
  const uint64_t width = config.width;
  const ExpertConfig& experts = config.experts;
  const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}", index, part); };
  const auto vector = [&](std::string_view part, uint64_t n, graph::Tensor& out) {
    return add_vector(name(part), index, n, out);
  };
  KL_TRY(vector("ffn_gate_inp.scale", width, weights.router_norm));
  entries_.back().factor = 1.0f / std::sqrt(static_cast<float>(width));
  KL_TRY(add_matrix(name("ffn_gate_inp.weight"), index, experts.n, width, weights.router));
  KL_TRY(vector("ffn_down_exps.scale", experts.n, weights.scale));
  KL_TRY(vector("post_ffw_norm_1.weight", width, weights.dense_norm));
  KL_TRY(vector("pre_ffw_norm_2.weight", width, weights.in_norm));
  KL_TRY(vector("post_ffw_norm_2.weight", width, weights.out_norm));
  KL_TRY(add_experts_matrix(name("ffn_down_exps.weight"), index,
                            {experts.n, width, experts.ffn_width}, weights.down));
  return add_gated_experts(index, config, weights);
}

/// Gate and up of all experts: in one tensor [n, 2 * ffn_width, width] or in two.
Status WeightTable::add_gated_experts(uint32_t index, const ModelConfig& config,
                                      ExpertWeights& weights) {
  const uint64_t n = config.experts.n;
  const uint64_t rows = config.experts.ffn_width;
  const std::string gate_name = fmt::format("blk.{}.ffn_gate_exps.weight", index);
  const std::string up_name = fmt::format("blk.{}.ffn_up_exps.weight", index);
  std::string name = fmt::format("blk.{}.ffn_gate_up_exps.weight", index);
  std::vector<RowPart> parts;
  if (file_->find_tensor(gate_name) == nullptr) {
    KL_ASSIGN(const formats::TensorInfo* both, find_experts(name, {n, 2 * rows, config.width}));
    for (uint64_t i = 0; i < 2 * n; ++i) parts.push_back({both, i * rows, rows});
  } else {
    KL_ASSIGN(const formats::TensorInfo* gate, find_experts(gate_name, {n, rows, config.width}));
    KL_ASSIGN(const formats::TensorInfo* up, find_experts(up_name, {n, rows, config.width}));
    if (!can_join(*gate, *up)) {
      KL_TRY(pack(gate_name, index, {all_rows(*gate)}, /*gated=*/false, weights.gate));
      entries_.back().experts = true;
      KL_TRY(pack(up_name, index, {all_rows(*up)}, /*gated=*/false, weights.up));
      entries_.back().experts = true;
      return {};
    }
    name = gate_name;
    for (uint64_t i = 0; i < n; ++i) {
      parts.push_back({gate, i * rows, rows});
      parts.push_back({up, i * rows, rows});
    }
  }
  KL_TRY(pack(std::move(name), index, std::move(parts), /*gated=*/true, weights.gate));
  entries_.back().experts = true;
  return {};
}

Status WeightTable::add_layer(uint32_t index, const ModelConfig& config, LayerWeights& weights) {
  const LayerConfig& layer = config.layers[index];
  const uint64_t width = config.width;
  const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}", index, part); };
  const auto vector = [&](std::string_view part, uint64_t n, graph::Tensor& out) {
    return add_vector(name(part), index, n, out);
  };
  const auto matrix = [&](std::string_view part, uint64_t n_rows, uint64_t n_cols,
                          kernels::PackedMatrix& out) {
    return add_matrix(name(part), index, n_rows, n_cols, out);
  };
  KL_TRY(vector("attn_norm.weight", width, weights.attn_norm));
  KL_TRY(add_attention(index, config, weights));
  KL_TRY(vector("post_attention_norm.weight", width, weights.post_attention_norm));
  KL_TRY(vector("ffn_norm.weight", width, weights.ffn_norm));
  KL_TRY(vector("post_ffw_norm.weight", width, weights.post_ffw_norm));
  KL_TRY(add_gated(index, width, {name("ffn_gate.weight"), layer.ffn_width, &weights.gate},
                   {name("ffn_up.weight"), layer.ffn_width, &weights.up}));
  KL_TRY(matrix("ffn_down.weight", width, layer.ffn_width, weights.down));
  if (config.experts.n != 0) KL_TRY(add_experts(index, config, weights.experts));
  if (const uint64_t p = config.per_layer_width; p != 0) {
    KL_TRY(matrix("inp_gate.weight", p, width, weights.per_layer_gate));
    KL_TRY(matrix("proj.weight", width, p, weights.per_layer_proj));
    KL_TRY(vector("post_norm.weight", width, weights.per_layer_norm));
  }

  const std::string scale = name("layer_output_scale.weight");
  if (file_->find_tensor(scale) != nullptr) {
    KL_TRY(add_scalar(scale, index, weights.scale));
  }
  return {};
}

Result<const formats::TensorInfo*> WeightTable::find(const std::string& name,
                                                     std::initializer_list<uint64_t> shape) const {
  const formats::TensorInfo* tensor = file_->find_tensor(name);
  if (tensor == nullptr) {
    return Error{ErrorCode::bad_file, fmt::format("{}: no tensor {}, expected one of [{}]",
                                                  file_->path(), name, fmt::join(shape, ", "))};
  }
  const std::vector<uint64_t> actual = shape_of(*tensor);
  if (!std::equal(actual.begin(), actual.end(), shape.begin(), shape.end())) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: {}: expected [{}], file has [{}]", file_->path(), name,
                             fmt::join(shape, ", "), fmt::join(actual, ", "))};
  }
  return tensor;
}

Result<const formats::TensorInfo*> WeightTable::find_floats(
    const std::string& name, std::initializer_list<uint64_t> shape) const {
  KL_ASSIGN(const formats::TensorInfo* source, find(name, shape));
  if (source->type != formats::GgmlType::f32 && source->type != formats::GgmlType::f16 &&
      source->type != formats::GgmlType::bf16) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: {}: expected f32, f16 or bf16, file has {}", file_->path(), name,
                             formats::traits(source->type).name)};
  }
  return source;
}

Status WeightTable::add_floats(std::string name, uint32_t layer, uint64_t n) {
  KL_ASSIGN(const formats::TensorInfo* source, find_floats(name, {n}));
  WeightEntry entry;
  entry.name = std::move(name);
  entry.layer = layer;
  entry.sources = {source};
  entries_.push_back(std::move(entry));
  return {};
}

Status WeightTable::add_vector(std::string name, uint32_t layer, uint64_t n, graph::Tensor& out) {
  KL_TRY(add_floats(std::move(name), layer, n));
  out.shape = graph::Shape{n};
  entries_.back().vector = &out;
  entries_.back().range_bytes = {n * sizeof(float)};
  return {};
}

Status WeightTable::add_scalar(std::string name, uint32_t layer, float& out) {
  KL_TRY(add_floats(std::move(name), layer, 1));
  entries_.back().scalar = &out;
  return {};
}

Status WeightTable::add_matrix(std::string name, uint32_t layer, uint64_t n_rows, uint64_t n_cols,
                               kernels::PackedMatrix& out) {
  return add_joined(layer, n_cols, {{std::move(name), n_rows, &out}});
}

Status WeightTable::add_joined(uint32_t layer, uint64_t n_cols,
                               std::initializer_list<Wanted> matrices) {
  std::vector<const formats::TensorInfo*> sources;
  for (const Wanted& wanted : matrices) {
    KL_ASSIGN(const formats::TensorInfo* source, find(wanted.name, {wanted.n_rows, n_cols}));
    sources.push_back(source);
  }
  const std::span<const Wanted> all(matrices.begin(), matrices.size());
  for (size_t i = 0; i < all.size();) {
    const Wanted& first = all[i];
    const std::string scale = scale_name(first.name);
    if (sources[i]->type == formats::GgmlType::nvfp4 && file_->find_tensor(scale) != nullptr) {
      KL_TRY(add_scalar(scale, layer, first.out->scale));
    }
    std::vector<RowPart> parts{all_rows(*sources[i])};
    size_t next = i + 1;
    // Whole panels before another part, so that a part never starts within one.
    while (next < all.size() && can_join(*sources[i], *sources[next]) &&
           all[next - 1].n_rows % kernels::kPanelRows == 0) {
      parts.push_back(all_rows(*sources[next++]));
    }
    KL_TRY(pack(first.name, layer, std::move(parts), /*gated=*/false, *first.out));
    i = next;
  }
  return {};
}

Status WeightTable::add_gated(uint32_t layer, uint64_t n_cols, const Wanted& gate,
                              const Wanted& up) {
  KL_ASSIGN(const formats::TensorInfo* gate_source, find(gate.name, {gate.n_rows, n_cols}));
  KL_ASSIGN(const formats::TensorInfo* up_source, find(up.name, {up.n_rows, n_cols}));
  if (can_join(*gate_source, *up_source) && gate.n_rows % kernels::kGatedRows == 0) {
    return pack(gate.name, layer, {all_rows(*gate_source), all_rows(*up_source)}, /*gated=*/true,
                *gate.out);
  }
  KL_TRY(add_joined(layer, n_cols, {gate}));
  return add_joined(layer, n_cols, {up});
}

Status WeightTable::add_experts_matrix(std::string name, uint32_t layer,
                                       std::initializer_list<uint64_t> shape,
                                       kernels::PackedMatrix& out) {
  KL_ASSIGN(const formats::TensorInfo* source, find_experts(name, shape));
  KL_TRY(pack(std::move(name), layer, {all_rows(*source)}, /*gated=*/false, out));
  entries_.back().experts = true;
  return {};
}

Result<const formats::TensorInfo*> WeightTable::find_experts(
    const std::string& name, std::initializer_list<uint64_t> shape) const {
  KL_ASSIGN(const formats::TensorInfo* source, find(name, shape));
  if (source->type == formats::GgmlType::nvfp4) {
    return Error{
        ErrorCode::unsupported,
        fmt::format("{}: {}: type nvfp4 is not supported for experts; take a file in mxfp4 "
                    "or q4_0 instead",
                    file_->path(), name)};
  }
  return source;
}

Status WeightTable::pack(std::string name, uint32_t layer, std::vector<RowPart> parts, bool gated,
                         kernels::PackedMatrix& out, std::vector<uint32_t> order, uint64_t n_cols) {
  const formats::TensorInfo& source = *parts.front().source;
  if (!kernels::can_pack(source.type)) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: {}: {}", file_->path(), name, refusal(source.type))};
  }
  WeightEntry entry;
  entry.name = std::move(name);
  entry.layer = layer;
  entry.gated = gated;
  entry.matrix = &out;
  uint64_t n_rows = 0;
  for (const RowPart& part : parts) {
    n_rows += part.n_rows;
    if (std::ranges::find(entry.sources, part.source) == entry.sources.end()) {
      entry.sources.push_back(part.source);
    }
  }
  entry.parts = std::move(parts);
  if (!order.empty()) n_rows = order.size();
  entry.order = std::move(order);
  // A table is only looked up, so it keeps the layout that needs no class of products.
  if (n_cols == 0) n_cols = source.ne[0];
  const kernels::LinearClass linear_class = layer == WeightEntry::kTable
                                                ? kernels::LinearClass::f32
                                                : linear_.pick(source.type, n_rows, n_cols, *caps_);
  entry.layout = kernels::plan_packed(source.type, n_rows, n_cols, *caps_, linear_class);
  entry.range_bytes = entry.layout.range_bytes();
  entries_.push_back(std::move(entry));
  return {};
}

uint64_t WeightEntry::source_bytes() const {
  uint64_t n_bytes = 0;
  for (const formats::TensorInfo* source : sources) n_bytes += source->data.size();
  return n_bytes;
}

RowPart WeightEntry::find_rows(uint64_t row) const {
  if (!order.empty()) {
    if (order[row] == kNoRow) return {nullptr, 0, 1};
    return {parts.front().source, order[row], 1};
  }
  if (gated) {
    constexpr uint64_t kRun = kernels::kGatedRows;
    const uint64_t n = parts.front().n_rows;
    const uint64_t in_pair = row % (2 * n);
    const RowPart& part = parts[row / (2 * n) * 2 + in_pair / kRun % 2];
    const uint64_t in_run = in_pair % kRun;
    return {part.source, part.first_row + in_pair / (2 * kRun) * kRun + in_run, kRun - in_run};
  }
  size_t i = 0;
  for (; row >= parts[i].n_rows; ++i) row -= parts[i].n_rows;
  return {parts[i].source, parts[i].first_row + row, parts[i].n_rows - row};
}

Status WeightTable::allocate(vk::Arena& device, vk::Arena& host, uint32_t n_gpu_layers) {
  for (const bool on_host : {false, true}) {
    std::vector<uint64_t> sizes;
    for (const WeightEntry& entry : entries_) {
      if (entry.on_host(n_gpu_layers) != on_host) continue;
      sizes.insert(sizes.end(), entry.range_bytes.begin(), entry.range_bytes.end());
    }
    if (sizes.empty()) continue;
    KL_ASSIGN(const std::vector<vk::BufferRange> ranges, (on_host ? host : device).allocate(sizes));
    std::span<const vk::BufferRange> rest(ranges);
    for (const WeightEntry& entry : entries_) {
      if (entry.on_host(n_gpu_layers) != on_host) continue;
      const auto own = rest.first(entry.range_bytes.size());
      rest = rest.subspan(own.size());
      if (entry.vector != nullptr) {
        *entry.vector = graph::Tensor::of(own[0], entry.vector->dtype, entry.vector->shape);
      }
      if (entry.matrix == nullptr) continue;
      *entry.matrix = kernels::make_packed_matrix(entry.layout, own);
      entry.matrix->gated = entry.gated;
    }
  }
  return {};
}

}  // namespace kimberlite::model
