// The table of shapes, and the tensors that a shape has.
#include "synthetic/shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace kimberlite::synthetic {
namespace {

/// E2B and E4B: V projections everywhere, a tail without keys and values, per-layer inputs.
ModelShape with_per_layer(ModelShape shape, uint32_t period, uint32_t width, uint32_t n_shared_kv) {
  shape.full_period = period;
  shape.context = 131072;
  shape.k_is_v = false;
  shape.per_layer = width;
  shape.n_shared_kv = n_shared_kv;
  return shape;
}

/// E2B on top of that.
ModelShape with_wide_tail(ModelShape shape) {
  shape.double_wide = true;
  shape.stores_unused_kv = true;
  return shape;
}

ModelShape with_experts(ModelShape shape, uint32_t n, uint32_t n_used, uint32_t ffn) {
  shape.n_experts = n;
  shape.n_experts_used = n_used;
  shape.expert_ffn = ffn;
  return shape;
}

/// Four layers on the keys and values of the target's last sliding and last full layer.
ModelShape drafter_of(const ModelShape& target, uint32_t hidden, uint32_t ffn, uint32_t n_heads,
                      uint32_t n_clusters = 0, uint32_t n_clusters_used = 0) {
  ModelShape shape = target;
  shape.name += "-drafter";
  shape.n_layers = shape.full_period = shape.n_shared_kv = 4;
  shape.hidden = hidden;
  shape.ffn = ffn;
  shape.n_heads = n_heads;
  shape.softcap = 0;
  shape.double_wide = shape.stores_unused_kv = false;
  shape.per_layer = shape.n_experts = shape.n_experts_used = shape.expert_ffn = 0;
  shape.target_hidden = target.hidden;
  shape.n_clusters = n_clusters;
  shape.n_clusters_used = n_clusters_used;
  return shape;
}

const std::array kModels{
    //         name       layers hidden  ffn  heads kv kv_full vocab window
    ModelShape{"tiny12", 7, 96, 192, 4, 2, 1, 517, 16},
    ModelShape{"tiny12-odd", 6, 160, 224, 4, 2, 1, 523, 20},
    ModelShape{"tiny12-k", 6, 256, 512, 4, 2, 1, 517, 24},  // whole rows of 256 for K-quants
    ModelShape{"tiny31", 12, 64, 128, 8, 4, 2, 541, 24},
    with_wide_tail(with_per_layer({"tiny-e2b", 10, 256, 512, 8, 1, 1, 517, 16}, 5, 256, 5)),
    with_per_layer({"tiny-e4b", 12, 64, 256, 8, 2, 2, 531, 20}, 4, 64, 4),
    with_experts({"tiny26", 6, 256, 192, 8, 4, 1, 547, 24}, 48, 4, 64),
    ModelShape{"12b", 48, 3840, 15360, 16, 8, 1, 262144, 1024},
    ModelShape{"31b", 60, 5376, 21504, 32, 16, 4, 262144, 1024},
    with_wide_tail(with_per_layer({"e2b", 35, 1536, 6144, 8, 1, 1, 262144, 512}, 5, 256, 20)),
    with_per_layer({"e4b", 42, 2560, 10240, 8, 2, 2, 262144, 512}, 6, 256, 18),
    with_experts({"26b", 30, 2816, 2112, 16, 8, 2, 262144, 1024}, 128, 8, 704),
};

std::vector<ModelShape> list_shapes() {
  std::vector<ModelShape> all(kModels.begin(), kModels.end());
  const auto add_drafter = [&](std::string_view target, auto... sizes) {
    all.push_back(drafter_of(*std::ranges::find(kModels, target, &ModelShape::name), sizes...));
  };
  //           target  hidden  ffn  heads clusters used
  add_drafter("tiny12", 64, 160, 6);
  add_drafter("tiny31", 96, 192, 12);
  add_drafter("tiny26", 128, 224, 8);
  add_drafter("tiny-e2b", 64, 256, 4, 47, 5);
  add_drafter("tiny-e4b", 32, 192, 6, 9, 2);
  add_drafter("12b", 1024, 8192, 16);
  add_drafter("31b", 1024, 8192, 32);
  add_drafter("26b", 1024, 8192, 16);
  add_drafter("e2b", 256, 2048, 4, 2048, 32);
  add_drafter("e4b", 256, 2048, 4, 2048, 32);
  return all;
}

/// Appends the tensors of one layer, or those beside the layers.
class TensorList {
 public:
  explicit TensorList(std::vector<TensorSpec>& tensors) : tensors_(tensors) {}

  void enter_layer(uint32_t layer, bool is_full) {
    prefix_ = fmt::format("blk.{}.", layer);
    is_full_ = is_full;
  }
  void leave_layers() {
    prefix_.clear();
    is_full_ = false;
  }
  TensorSpec& add(std::string_view name, std::vector<uint64_t> ne) {
    const std::string whole = prefix_ + std::string(name);
    const bool is_matrix = ne.size() >= 2;
    tensors_.push_back({whole, std::move(ne), is_full_, is_matrix, whole});
    return tensors_.back();
  }
  void add_half(std::string_view name, std::string_view fused, uint32_t half,
                std::vector<uint64_t> ne) {
    TensorSpec& tensor = add(name, std::move(ne));
    tensor.hash_name = prefix_ + std::string(fused);
    tensor.half = half;
  }

 private:
  std::vector<TensorSpec>& tensors_;  // Borrowed from list_tensors.
  std::string prefix_;
  bool is_full_ = false;
};

void list_attention(const ModelShape& shape, uint32_t layer, TensorList& list) {
  const uint64_t hidden = shape.hidden;
  const uint64_t head = shape.head_dim(layer);
  const uint64_t q = shape.n_heads * head;
  const uint64_t kv = shape.n_kv(layer) * head;
  const bool has_kv = shape.owns_kv(layer) || shape.stores_unused_kv;
  list.add("attn_norm.weight", {hidden});
  list.add("attn_q.weight", {hidden, q});
  if (has_kv) list.add("attn_k.weight", {hidden, kv});
  if (has_kv && !(shape.k_is_v && shape.is_full(layer))) list.add("attn_v.weight", {hidden, kv});
  list.add("attn_q_norm.weight", {head});
  if (has_kv) list.add("attn_k_norm.weight", {head});
  list.add("attn_output.weight", {q, hidden});
  list.add("post_attention_norm.weight", {hidden});
}

void list_experts(const ModelShape& shape, TensorList& list) {
  const uint64_t hidden = shape.hidden;
  const uint64_t n = shape.n_experts;
  const uint64_t ffn = shape.expert_ffn;
  constexpr std::string_view kFused = "ffn_gate_up_exps.weight";
  list.add("ffn_gate_inp.weight", {hidden, n});
  list.add("ffn_gate_inp.scale", {hidden});
  if (shape.split_experts) {
    list.add_half("ffn_gate_exps.weight", kFused, 0, {hidden, ffn, n});
    list.add_half("ffn_up_exps.weight", kFused, 1, {hidden, ffn, n});
  } else {
    list.add(kFused, {hidden, 2 * ffn, n});
  }
  list.add("ffn_down_exps.weight", {ffn, hidden, n});
  list.add("ffn_down_exps.scale", {n});
  list.add("pre_ffw_norm_2.weight", {hidden});
  list.add("post_ffw_norm_1.weight", {hidden});
  list.add("post_ffw_norm_2.weight", {hidden});
}

void list_layer(const ModelShape& shape, uint32_t layer, TensorList& list) {
  const uint64_t hidden = shape.hidden;
  const uint64_t ffn = shape.ffn_width(layer);
  list.enter_layer(layer, shape.is_full(layer));
  list_attention(shape, layer, list);
  list.add("ffn_norm.weight", {hidden});
  list.add("ffn_gate.weight", {hidden, ffn});
  list.add("ffn_up.weight", {hidden, ffn});
  list.add("ffn_down.weight", {ffn, hidden});
  if (shape.n_experts != 0) list_experts(shape, list);
  list.add("post_ffw_norm.weight", {hidden});
  if (shape.per_layer != 0) {
    list.add("inp_gate.weight", {hidden, shape.per_layer});
    list.add("proj.weight", {shape.per_layer, hidden});
    list.add("post_norm.weight", {hidden});
  }
  list.add("layer_output_scale.weight", {1});
}

void list_drafter_ends(const ModelShape& shape, TensorList& list) {
  const uint64_t hidden = shape.hidden;
  const uint64_t target = shape.target_hidden;
  list.add("nextn.pre_projection.weight", {2 * target, hidden});
  list.add("nextn.post_projection.weight", {hidden, target});
  if (shape.n_clusters == 0) return;
  list.add("masked_embd_centroids.weight", {hidden, shape.n_clusters});
  list.add("masked_embd_ordering", {shape.vocab}).is_ordering = true;
}

}  // namespace

std::span<const ModelShape> named_shapes() {
  static const std::vector<ModelShape> all = list_shapes();
  return all;
}

std::optional<ModelShape> find_shape(std::string_view name) {
  const auto found = std::ranges::find(named_shapes(), name, &ModelShape::name);
  if (found == named_shapes().end()) return std::nullopt;
  return *found;
}

ModelShape ModelShape::with_layers(uint32_t n) const {
  ModelShape shape = *this;
  shape.n_layers = n;
  shape.n_shared_kv = static_cast<uint32_t>(uint64_t{n} * n_shared_kv / n_layers);
  return shape;
}

uint64_t TensorSpec::n_elements() const {
  uint64_t n = 1;
  for (const uint64_t extent : ne) n *= extent;
  return n;
}

std::vector<TensorSpec> list_tensors(const ModelShape& shape) {
  std::vector<TensorSpec> tensors;
  TensorList list(tensors);
  list.add("token_embd.weight", {shape.hidden, shape.vocab});
  if (shape.per_layer != 0) {
    const uint64_t all_layers = uint64_t{shape.per_layer} * shape.n_layers;
    list.add("per_layer_token_embd.weight", {all_layers, shape.vocab});
    list.add("per_layer_model_proj.weight", {shape.hidden, all_layers});
    list.add("per_layer_proj_norm.weight", {shape.per_layer});
  }
  for (uint32_t layer = 0; layer < shape.n_layers; ++layer) list_layer(shape, layer, list);
  list.leave_layers();
  list.add("output_norm.weight", {shape.hidden});
  if (shape.is_drafter()) list_drafter_ends(shape, list);
  list.add("rope_freqs.weight", {shape.head_dim_full / 2});
  return tensors;
}

}  // namespace kimberlite::synthetic
