// Sampling a token for each column, entirely on the device and exact over the whole vocabulary.
// Shaders: sample_*.comp, seven dispatches. The CPU reference is kernels/sample_oracle.hpp. Those
// that move sequences on by what was drawn are in sample_advance.cpp.
//
// Order: suppressed ids, penalties, temperature, top-k, top-p, min-p, then the arg max of what is
// left plus Gumbel noise of (seed, position, token id). Temperature comes first, as in Hugging Face
// transformers (llama.cpp's default chain has it last, so that its top-p and min-p see temperature
// 1).
#pragma once

#include <span>
#include <string>

#include "base/result.hpp"
#include "graph/graph.hpp"
#include "kernels/column_slice.hpp"
#include "shaders/common/sequence.h"

namespace kimberlite::kernels {

/// Every kernel of this file, for the list of all kernels.
[[nodiscard]] std::span<const graph::KernelDesc* const> sample_kernels();

/// What a request asks for. The defaults sample from the plain softmax.
struct SamplingSettings {
  float temperature = 1.0f;  // below 1e-5: greedy
  uint32_t top_k = 0;        // 0: off
  float top_p = 1.0f;        // 1: off; 0 keeps the best token
  float min_p = 0.0f;        // 0: off
  float repeat_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint64_t seed = 0;
};

/// Errors: invalid_argument, naming the setting, its value and its bounds.
[[nodiscard]] Status check_sampling(const SamplingSettings& settings);

/// Writes the seed and the sampling fields of `state`; the others stay. Settings must be valid.
void set_sampling(shaders::SequenceState& state, const SamplingSettings& settings);

/// At most as many columns as a decode pass has.
inline constexpr uint32_t kMaxSampleColumns = 8;

struct SampleInputs {
  graph::Tensor logits;         // f32 [n, vocab], soft-capped
  graph::Tensor columns;        // u32 [n, 4]: Column
  graph::Tensor states;         // u32 [n_sequences, 24]: SequenceState
  graph::Tensor counts;         // u32 [n_sequences, vocab]: tokens so far
  graph::Tensor suppress = {};  // u32 [n_suppress], never drawn; unset: none
  /// u32 [n, (vocab + 31) / 32]: token t may be drawn where bit t % 32 is set; unset: all may.
  graph::Tensor mask = {};
};

struct SampleOutputs {
  graph::Tensor ring;     // u32 [n_sequences, capacity]: token i of a sequence at i % capacity
  graph::Tensor reports;  // u32 [n_sequences, 6]: SequenceReport
};

/// Draws one token for each running column, each of another sequence, and moves the sequences on:
/// ring, report, counts and state are updated, and the columns become those of the next step.
void add_sample(graph::Graph& graph, const SampleInputs& inputs, const SampleOutputs& outputs,
                const std::string& label);

/// What a pass over drafts does besides.
struct AcceptOptions {
  /// f32 [n, width], the target's state of each column after its last norm; unset: none wanted.
  graph::Tensor hidden;
  /// Columns of f32 [n_sequences, any width]: the row of `hidden` from which the next round's
  /// drafter goes on. Kept as it is where nothing was emitted.
  ColumnSlice hidden_next;
  /// Benchmarks alone: 2^32 times the share of drafts that pass for right, by agree_hash of
  /// shaders/sample.h, whatever was sampled. 0: drafts are compared.
  uint32_t agree = 0;
};

/// Verifies drafts of one sequence: `inputs` has n columns at consecutive positions, the pending
/// token and n - 1 drafts, and the target's logits of each. Draws a token for each, emits those up
/// to the first that is not the next column's draft, and stops where steps one by one would. Column
/// 0 becomes the next pending one. With one column this is add_sample.
void add_sample_accept(graph::Graph& graph, const SampleInputs& inputs,
                       const SampleOutputs& outputs, const AcceptOptions& options,
                       const std::string& label);

/// Where a draft goes beside its column.
struct DraftOutputs {
  graph::Tensor
      next;  // u32 [1, 4]: the column, for a view of one row is misaligned on most devices
  graph::Tensor drafts;  // u32 [n]: tokens for the host, by index; kNoDraft: inactive
};

/// Drafts a token: draws from a drafter's logits, f32 [1, vocab], exactly as the target's will be
/// drawn from at column `index` of `inputs.columns` (same settings, history and noise), and writes
/// column `index` + 1. A draft that could be of no use is inactive.
void add_sample_draft(graph::Graph& graph, const SampleInputs& inputs, uint32_t index,
                      const DraftOutputs& outputs, const std::string& label);

/// Draws a token for each running column into tokens, u32 [n], and changes nothing else. Columns
/// may share a sequence (verification of drafts): penalties then count the drafts up to a column
/// too.
void add_sample_tokens(graph::Graph& graph, const SampleInputs& inputs, const graph::Tensor& tokens,
                       const std::string& label);

}  // namespace kimberlite::kernels
