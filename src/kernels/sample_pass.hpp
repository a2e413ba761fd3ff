// What sample.cpp and sample_advance.cpp share: how a sampling pass is put together. Internal to
// sampling and its tests.
#pragma once

#include <string>
#include <vector>

#include "kernels/sample.hpp"
#include "shaders/common/columns.h"
#include "shaders/sample.h"

namespace kimberlite::kernels {

static_assert(kMaxSampleColumns == shaders::kSampleColumns);
inline constexpr uint32_t kColumnWords = sizeof(shaders::Column) / 4;
inline constexpr uint32_t kStateWords = sizeof(shaders::SequenceState) / 4;
inline constexpr uint32_t kReportWords = sizeof(shaders::SequenceReport) / 4;

/// What the dispatches of one pass have in common.
struct SamplePass {
  /// How a node covers the rows of logits.
  enum class Spread {
    chunks,   // a subgroup for each chunk of the vocabulary
    columns,  // a subgroup for each row
  };

  graph::Graph& graph;
  const std::string& label;
  uint32_t n_rows;  // of logits
  shaders::SamplePush push;
  bool masked = false;

  void add(const graph::KernelDesc& kernel, Spread spread,
           std::vector<graph::Tensor> tensors) const;
};

void check_sample_inputs(const graph::Graph& graph, const SampleInputs& in);
[[nodiscard]] SamplePass make_sample_pass(graph::Graph& graph, const SampleInputs& in,
                                          const std::string& label);
/// All dispatches but the last. Returns the picks, u32 [n, n_chunks, 2].
[[nodiscard]] graph::Tensor add_pick(const SamplePass& pass, const SampleInputs& in);

/// The last dispatch of add_sample and add_sample_accept alone, for any number of sequences, each
/// with as many columns: u32 [n_sequences * n_columns, 4].
struct AdvanceInputs {
  graph::Tensor columns;
  graph::Tensor states;
  graph::Tensor picks;  // u32 [n_sequences * n_columns, n_chunks, 2]
  graph::Tensor counts;
  uint32_t n_columns = 1;
};
void add_sample_advance(graph::Graph& graph, const AdvanceInputs& inputs,
                        const SampleOutputs& outputs, const AcceptOptions& options,
                        const std::string& label);

extern const graph::KernelDesc kSampleDraft;
extern const graph::KernelDesc kSampleAdvance;

}  // namespace kimberlite::kernels
