// The sampler, whose tokens must be exactly those of the CPU.
#include <cstring>

#include "kernels/sample.hpp"
#include "kernels/sample_oracle.hpp"
#include "runtime/probe_checks.hpp"
#include "runtime/probe_inputs.hpp"

namespace kimberlite::runtime {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::SamplingSettings;

namespace {

constexpr uint32_t kColumns = 8;
constexpr uint64_t kVocab = 1003;
constexpr uint32_t kPosition = 77;

/// Settings of the 8 columns: each rule alone, then all together.
std::vector<SamplingSettings> probe_settings() {
  return {{.temperature = 0.0f},
          {.seed = 1},
          {.temperature = 0.7f, .top_k = 5, .seed = 2},
          {.temperature = 1.3f, .top_p = 0.8f, .seed = 3},
          {.min_p = 0.1f, .seed = 4},
          {.repeat_penalty = 1.5f, .seed = 5},
          {.presence_penalty = 0.5f, .frequency_penalty = 0.25f, .seed = 6},
          {.temperature = 0.9f,
           .top_k = 40,
           .top_p = 0.9f,
           .min_p = 0.05f,
           .repeat_penalty = 1.1f,
           .presence_penalty = 0.1f,
           .frequency_penalty = 0.1f,
           .seed = 7}};
}

}  // namespace

ProbeCheck sample_check(ProbeMemory& memory) {
  const std::vector<float> logits = probe_values(kColumns * kVocab, 31, 8.0f);
  std::vector<uint32_t> counts(kColumns * kVocab);
  for (size_t i = 0; i < counts.size(); i += 7) counts[i] = static_cast<uint32_t>(1 + i % 3);
  const std::vector<uint32_t> suppress{3, 500};
  std::vector<uint32_t> columns;
  std::vector<shaders::SequenceState> states(kColumns);
  kernels::reference::Expected expected;
  for (uint32_t c = 0; c < kColumns; ++c) {
    shaders::SequenceState& state = states[c];
    kernels::set_sampling(state, probe_settings()[c]);
    state.position = kPosition + c;
    state.token_limit = state.context_limit = UINT32_MAX;
    columns.insert(columns.end(), {9, kPosition + c - 1, c, 1});
    kernels::HostSample sample;
    sample.logits = std::span(logits).subspan(c * kVocab, kVocab);
    sample.counts = std::span(counts).subspan(c * kVocab, kVocab);
    sample.suppress = suppress;
    sample.position = state.position;
    const std::optional<uint32_t> token = kernels::sample_on_host(sample, state);
    KL_CHECK(token.has_value(), "logits to choose from");
    expected.add(*token, 0.0);
  }

  constexpr uint64_t kStateWords = sizeof(shaders::SequenceState) / sizeof(uint32_t);
  constexpr uint64_t kReportWords = sizeof(shaders::SequenceReport) / sizeof(uint32_t);
  const kernels::SampleInputs inputs{
      memory.add(logits, Shape{kColumns, kVocab}), memory.add(columns, Shape{kColumns, 4}),
      memory.add(states.data(), states.size() * sizeof(shaders::SequenceState), DType::u32,
                 Shape{kColumns, kStateWords}),
      memory.add(counts, Shape{kColumns, kVocab}), memory.add(suppress, Shape{suppress.size()})};
  const kernels::SampleOutputs outputs{
      memory.add_output(DType::u32, Shape{kColumns, 1}),
      memory.add_output(DType::u32, Shape{kColumns, kReportWords})};
  const auto add = [=](Graph& graph) { kernels::add_sample(graph, inputs, outputs, "sample"); };
  const auto read = [ring = outputs.ring](ProbeMemory& results) {
    std::vector<uint32_t> tokens(kColumns);
    std::memcpy(tokens.data(), results.bytes(ring).data(), ring.n_bytes);
    return std::vector<float>(tokens.begin(), tokens.end());
  };
  ProbeCheck check{"sample", kernels::sample_kernels().back(), {}, kColumns, {}, {}};
  check.passes = {{0, kColumns, add, {{outputs.ring, read}}}};
  check.expected = {expected};
  return check;
}

}  // namespace kimberlite::runtime
