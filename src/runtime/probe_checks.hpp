// The checks of the probe: for each kernel that a model uses, passes of 1 to 8 columns with the
// values that they must give. Internal to the probe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.hpp"
#include "kernels/quant_act.hpp"
#include "kernels/reference.hpp"
#include "runtime/probe.hpp"
#include "runtime/probe_memory.hpp"

namespace kimberlite::runtime {

/// What a pass writes: its floats, or how to read them (a cache, token ids).
struct ProbeOutput {
  graph::Tensor tensor;
  std::function<std::vector<float>(ProbeMemory&)> read;  // unset: `tensor` as it is
};

/// One call of the kernel with columns [first, first + n).
struct ProbePass {
  uint32_t first = 0;
  uint32_t n = 1;
  std::function<void(graph::Graph&)> add;
  std::vector<ProbeOutput> outputs;
};

struct ProbeCheck {
  std::string name;                           // unique: the kernel and what of it
  const graph::KernelDesc* kernel = nullptr;  // whose variant is to blame
  std::optional<kernels::MatrixKind> kind;    // the class that goes when no variant is left
  uint32_t n_columns = 1;
  std::vector<ProbePass> passes;  // with single columns, the others must repeat them bit by bit
  std::vector<kernels::reference::Expected> expected;  // of each output, over all columns
};

/// The worst thing that was found in a check.
struct ProbeDeviation {
  double error = 0;  // infinite for what is not a number
  double allowed = 0;
  bool by_company = false;  // a column differs from the same column alone
};

/// nullopt: all is well.
[[nodiscard]] std::optional<ProbeDeviation> find_deviation(const ProbeCheck& check,
                                                           ProbeMemory& memory);

/// The weights of a check, in GGUF bytes and packed.
struct ProbeMatrix {
  std::vector<std::byte> rows;
  kernels::reference::Matrix file;
  kernels::PackedMatrix packed;
};
[[nodiscard]] ProbeMatrix make_matrix(ProbeMemory& memory, const vk::Caps& caps,
                                      const kernels::MatrixKind& kind, uint64_t n_rows,
                                      uint64_t n_cols, uint32_t seed);
/// A width of an odd number of steps.
[[nodiscard]] uint64_t probe_width(formats::GgmlType type);
/// x as a matrix of this class takes it.
[[nodiscard]] graph::Tensor probe_operand(graph::Graph& graph, const graph::Tensor& x,
                                          kernels::LinearClass linear_class);

/// The rows first .. first + n - 1 of `all`.
[[nodiscard]] std::span<const float> slice(const std::vector<float>& all, uint64_t width,
                                           uint32_t first, uint32_t n);
/// Rows to write in every form that the device has: float32, and rounded for its int8 class.
[[nodiscard]] kernels::ActivationRows add_rows(ProbeMemory& memory, const vk::Caps& caps,
                                               uint64_t n, uint64_t width);
/// One output for each form.
[[nodiscard]] std::vector<ProbeOutput> row_outputs(const kernels::ActivationRows& rows);
/// What they must be.
[[nodiscard]] std::vector<kernels::reference::Expected> expect_rows(
    const vk::Caps& caps, kernels::reference::Expected rows, uint64_t width);

/// Products of a gated matrix to what it makes of them; rows are whole panels.
[[nodiscard]] kernels::reference::Expected gate_products(
    const kernels::reference::Expected& products);
/// The matrix products of a kind: decode with 1 to 8 columns, and prefill.
[[nodiscard]] std::vector<ProbeCheck> matrix_checks(ProbeMemory& memory, const vk::Caps& caps,
                                                    const kernels::MatrixKind& kind, bool gated);
[[nodiscard]] ProbeCheck embed_check(ProbeMemory& memory, const vk::Caps& caps,
                                     const kernels::MatrixKind& kind);
/// Routing and products of experts: decode with 1 to 8 columns, and prefill.
[[nodiscard]] std::vector<ProbeCheck> expert_checks(ProbeMemory& memory, const vk::Caps& caps,
                                                    const kernels::MatrixKind& kind, bool gated);
/// The seams around a mixture of experts.
[[nodiscard]] std::vector<ProbeCheck> expert_row_checks(ProbeMemory& memory, const vk::Caps& caps);
/// RoPE with the cache write, decode over the cache, prefill over the cache.
[[nodiscard]] std::vector<ProbeCheck> attention_checks(ProbeMemory& memory, const vk::Caps& caps,
                                                       const AttentionKind& kind,
                                                       kernels::KvType type);
/// Prefill over a picture, whose columns see those behind them: of a kind with a window.
[[nodiscard]] ProbeCheck picture_check(ProbeMemory& memory, const vk::Caps& caps,
                                       const AttentionKind& kind, kernels::KvType type);
/// Layer norms, bounds and embeddings in the place of tokens: what pictures and sounds need.
[[nodiscard]] std::vector<ProbeCheck> media_checks(ProbeMemory& memory);
/// What an encoder of pictures with such heads needs.
[[nodiscard]] std::vector<ProbeCheck> tower_checks(ProbeMemory& memory, uint32_t head_dim);
/// The name of the first of them.
[[nodiscard]] std::string tower_check_name(uint32_t head_dim);
/// What an encoder of sounds needs.
[[nodiscard]] std::vector<ProbeCheck> conformer_checks(ProbeMemory& memory);
/// The name of the first of them.
inline constexpr const char* kConformerCheck = "conv2d";
/// Norms and activation: what every model uses.
[[nodiscard]] std::vector<ProbeCheck> row_checks(ProbeMemory& memory, const vk::Caps& caps);
/// A token for each of 8 sequences, every kind of setting among them.
[[nodiscard]] std::vector<ProbeCheck> sample_checks(ProbeMemory& memory);
/// Drafts and their acceptance.
[[nodiscard]] std::vector<ProbeCheck> draft_checks(ProbeMemory& memory);

/// The name of the first of attention_checks.
[[nodiscard]] std::string rope_check_name(const AttentionKind& kind, kernels::KvType type);
/// That of picture_check.
[[nodiscard]] std::string picture_check_name(const AttentionKind& kind, kernels::KvType type);

/// Passes of one column each, then passes of 2 to 8.
[[nodiscard]] std::vector<ProbePass> make_sweep(
    const std::function<ProbePass(uint32_t first, uint32_t n)>& make);

}  // namespace kimberlite::runtime
