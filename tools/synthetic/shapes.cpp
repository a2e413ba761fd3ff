// The table of shapes, and the tensors that a shape has.
#include "synthetic/shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace kimberlite::synthetic {
namespace {

const std::array kShapes{
    //         name       layers hidden  ffn  heads kv kv_full vocab window
    ModelShape{"tiny12", 7, 96, 192, 4, 2, 1, 517, 16},
    ModelShape{"tiny12-odd", 6, 160, 224, 4, 2, 1, 523, 20},
    ModelShape{"tiny12-k", 6, 256, 512, 4, 2, 1, 517, 24},  // whole rows of 256 for K-quants
    ModelShape{"tiny31", 12, 64, 128, 8, 4, 2, 541, 24},
    ModelShape{"12b", 48, 3840, 15360, 16, 8, 1, 262144, 1024},
    ModelShape{"31b", 60, 5376, 21504, 32, 16, 4, 262144, 1024},
};

void list_layer(const ModelShape& shape, uint32_t layer, std::vector<TensorSpec>& tensors) {
  const bool is_full = shape.is_full(layer);
  const uint64_t hidden = shape.hidden;
  const uint64_t head = shape.head_dim(layer);
  const uint64_t q = shape.n_heads * head;
  const uint64_t kv = shape.n_kv(layer) * head;
  const auto add = [&](std::string_view ending, std::vector<uint64_t> ne) {
    const bool is_matrix = ne.size() == 2;
    tensors.push_back(
        {fmt::format("blk.{}.{}.weight", layer, ending), std::move(ne), is_full, is_matrix});
  };
  add("attn_norm", {hidden});
  add("attn_q", {hidden, q});
  add("attn_k", {hidden, kv});
  if (!is_full) add("attn_v", {hidden, kv});
  add("attn_q_norm", {head});
  add("attn_k_norm", {head});
  add("attn_output", {q, hidden});
  add("post_attention_norm", {hidden});
  add("ffn_norm", {hidden});
  add("ffn_gate", {hidden, shape.ffn});
  add("ffn_up", {hidden, shape.ffn});
  add("ffn_down", {shape.ffn, hidden});
  add("post_ffw_norm", {hidden});
  add("layer_output_scale", {1});
}

}  // namespace

std::span<const ModelShape> named_shapes() { return kShapes; }

std::optional<ModelShape> find_shape(std::string_view name) {
  const auto found = std::ranges::find(kShapes, name, &ModelShape::name);
  if (found == kShapes.end()) return std::nullopt;
  return *found;
}

uint64_t TensorSpec::n_elements() const {
  uint64_t n = 1;
  for (const uint64_t extent : ne) n *= extent;
  return n;
}

std::vector<TensorSpec> list_tensors(const ModelShape& shape) {
  std::vector<TensorSpec> tensors;
  tensors.push_back({"token_embd.weight", {shape.hidden, shape.vocab}, false, true});
  for (uint32_t layer = 0; layer < shape.n_layers; ++layer) list_layer(shape, layer, tensors);
  tensors.push_back({"output_norm.weight", {shape.hidden}, false, false});
  tensors.push_back({"rope_freqs.weight", {shape.head_dim_full / 2}, false, false});
  return tensors;
}

}  // namespace kimberlite::synthetic
