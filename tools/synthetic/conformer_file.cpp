#include "synthetic/conformer_file.hpp"

#include <string>

namespace kimberlite::synthetic {
namespace {

constexpr uint64_t kTaps = 5;

class TensorList {
 public:
  void add_floats(const std::string& name, std::vector<uint64_t> ne) {
    tensors_.push_back({name, std::move(ne), false, false, name});
  }
  void add_matrix(const std::string& name, uint64_t n_in, uint64_t n_out) {
    tensors_.push_back({name, {n_in, n_out}, false, true, name});
  }
  void add_linear(const std::string& stem, uint64_t n_in, uint64_t n_out) {
    add_matrix(stem + ".weight", n_in, n_out);
    for (const char* bound : {".input_min", ".input_max", ".output_min", ".output_max"}) {
      add_floats(stem + bound, {1});
    }
  }
  [[nodiscard]] std::vector<TensorSpec> take() { return std::move(tensors_); }

 private:
  std::vector<TensorSpec> tensors_;
};

void add_layer(const ConformerShape& shape, uint32_t index, TensorList& list) {
  const uint64_t hidden = shape.hidden;
  const std::string name = "a.blk." + std::to_string(index) + ".";
  for (const char* norm : {"attn_pre_norm", "attn_post_norm", "conv_norm", "norm_conv", "ln2"}) {
    list.add_floats(name + norm + ".weight", {hidden});
  }
  for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_out", "conv_pw2"}) {
    list.add_linear(name + part, hidden, hidden);
  }
  for (const std::string suffix : {"", "_1"}) {
    list.add_floats(name + "ffn_norm" + suffix + ".weight", {hidden});
    list.add_linear(name + "ffn_up" + suffix, hidden, 4 * hidden);
    list.add_linear(name + "ffn_down" + suffix, 4 * hidden, hidden);
    list.add_floats(name + "ffn_post_norm" + suffix + ".weight", {hidden});
  }
  list.add_matrix(name + "attn_k_rel.weight", hidden, hidden);
  list.add_floats(name + "per_dim_scale.weight", {hidden / shape.n_heads});
  list.add_linear(name + "conv_pw1", hidden, 2 * hidden);
  list.add_floats(name + "conv_dw.weight", {kTaps, hidden});
}

}  // namespace

std::vector<TensorSpec> list_conformer_tensors(const ConformerShape& shape) {
  TensorList list;
  constexpr uint64_t kFirst = ConformerShape::kFirstChannels;
  list.add_floats("a.conv1d.0.weight", {3, 3, 1, kFirst});
  list.add_floats("a.conv1d.0.norm.weight", {kFirst});
  list.add_floats("a.conv1d.1.weight", {3, 3, kFirst, shape.n_channels});
  list.add_floats("a.conv1d.1.norm.weight", {shape.n_channels});
  list.add_matrix("a.input_projection.weight", kFirst / 4 * shape.n_channels, shape.hidden);
  for (uint32_t i = 0; i < shape.n_layers; ++i) add_layer(shape, i, list);
  list.add_matrix("a.pre_encode.out.weight", shape.hidden, shape.output);
  list.add_floats("a.pre_encode.out.bias", {shape.output});
  return list.take();
}

}  // namespace kimberlite::synthetic
