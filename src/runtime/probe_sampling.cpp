// The sampler, whose tokens must be exactly those of the CPU, and a round of drafts.
#include <array>
#include <cstring>

#include "kernels/accept_oracle.hpp"
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

constexpr uint64_t kStateWords = sizeof(shaders::SequenceState) / sizeof(uint32_t);
constexpr uint64_t kReportWords = sizeof(shaders::SequenceReport) / sizeof(uint32_t);

/// Words as numbers.
ProbeOutput word_output(const Tensor& words) {
  const auto read = [words](ProbeMemory& results) {
    std::vector<uint32_t> values(words.n_elements());
    std::memcpy(values.data(), results.bytes(words).data(), words.n_bytes);
    return std::vector<float>(values.begin(), values.end());
  };
  return {words, read};
}

ProbeCheck make_sample_check(ProbeMemory& memory) {
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

  const kernels::SampleInputs inputs{
      memory.add(logits, Shape{kColumns, kVocab}), memory.add(columns, Shape{kColumns, 4}),
      memory.add(states.data(), states.size() * sizeof(shaders::SequenceState), DType::u32,
                 Shape{kColumns, kStateWords}),
      memory.add(counts, Shape{kColumns, kVocab}), memory.add(suppress, Shape{suppress.size()})};
  const kernels::SampleOutputs outputs{
      memory.add_output(DType::u32, Shape{kColumns, 1}),
      memory.add_output(DType::u32, Shape{kColumns, kReportWords})};
  const auto add = [=](Graph& graph) { kernels::add_sample(graph, inputs, outputs, "sample"); };
  ProbeCheck check{"sample", kernels::sample_kernels().back(), {}, kColumns, {}, {}};
  check.passes = {{0, kColumns, add, {word_output(outputs.ring)}}};
  check.expected = {expected};
  return check;
}

/// Two drafts that are right, from the logits that the target has there, and one that is not.
constexpr uint32_t kRoundColumns = 4;

struct DraftCase {
  std::vector<float> logits = probe_values(kRoundColumns * kVocab, 33, 8.0f);
  std::vector<uint32_t> counts = std::vector<uint32_t>(kVocab);
  std::vector<float> hidden = probe_values(kRoundColumns * 3, 34);
  kernels::HostRound round;

  [[nodiscard]] std::span<const float> logits_of(uint32_t column) const {
    return std::span(logits).subspan(column * kVocab, kVocab);
  }
};

DraftCase make_draft_case() {
  DraftCase c;
  c.counts[5] = 2;
  kernels::set_sampling(c.round.state, probe_settings().back());
  c.round.state.position = kPosition + 1;
  c.round.state.token_limit = c.round.state.context_limit = UINT32_MAX;
  std::vector<uint32_t> drafts;
  for (uint32_t i = 0; i < kRoundColumns; ++i) {
    kernels::HostSample sample{c.logits_of(i), c.counts, drafts, {}, kPosition + i + 1};
    c.round.drawn.push_back(kernels::sample_on_host(sample, c.round.state));
    const uint32_t before = i == 0 ? 9 : drafts.back();
    c.round.columns.push_back({before, kPosition + i, 0, 1});
    const uint32_t drawn = c.round.drawn.back().value_or(0);
    drafts.push_back(i + 2 < kRoundColumns ? drawn : (drawn + 1) % static_cast<uint32_t>(kVocab));
  }
  return c;
}

ProbeCheck make_draft_check(ProbeMemory& memory) {
  const DraftCase c = make_draft_case();
  std::vector<shaders::Column> columns = c.round.columns;
  for (uint32_t i = 1; i + 1 < kRoundColumns; ++i) columns[i] = {};  // to be drafted
  const kernels::SampleInputs inputs{
      memory.add(c.logits, Shape{kRoundColumns, kVocab}),
      memory.add(columns.data(), columns.size() * sizeof(shaders::Column), DType::u32,
                 Shape{kRoundColumns, 4}),
      memory.add(&c.round.state, sizeof(c.round.state), DType::u32, Shape{1, kStateWords}),
      memory.add(c.counts, Shape{1, kVocab})};
  const std::array drafter_logits{memory.add(c.logits_of(0), Shape{1, kVocab}),
                                  memory.add(c.logits_of(1), Shape{1, kVocab})};
  const kernels::DraftOutputs drafted{memory.add_output(DType::u32, Shape{1, 4}),
                                      memory.add_output(DType::u32, Shape{1, 2})};
  const kernels::HostAdvance after = kernels::advance_on_host(c.round);
  KL_CHECK(after.tokens.size() == 3 && after.report.has_value(), "two drafts that are right");
  const kernels::SampleOutputs outputs{memory.add_output(DType::u32, Shape{1, 3}),
                                       memory.add_output(DType::u32, Shape{1, kReportWords})};
  kernels::AcceptOptions options;
  options.hidden = memory.add(c.hidden, Shape{kRoundColumns, 3});
  const Tensor hidden_next = memory.add_output(DType::f32, Shape{1, 3});
  options.hidden_next = hidden_next;
  const auto add = [=](Graph& graph) {
    for (uint32_t i = 0; i < drafter_logits.size(); ++i) {
      kernels::SampleInputs drafter = inputs;
      drafter.logits = drafter_logits[i];
      kernels::add_sample_draft(graph, drafter, i, drafted, "draft");
    }
    kernels::add_sample_accept(graph, inputs, outputs, options, "accept");
  };
  ProbeCheck check{"sample_draft", kernels::sample_kernels().back(), {}, 1, {}, {}};
  check.passes = {
      {0,
       1,
       add,
       {word_output(outputs.ring), word_output(outputs.reports), ProbeOutput{hidden_next, {}}}}};
  check.expected.resize(3);
  for (const uint32_t token : after.tokens) check.expected[0].add(token, 0.0);
  const shaders::SequenceReport& report = *after.report;
  for (const uint32_t word : {report.n_emitted, report.done, report.position, report.last_token,
                              report.n_drafts, report.n_accepted}) {
    check.expected[1].add(word, 0.0);
  }
  for (uint32_t i = 0; i < 3; ++i) {
    check.expected[2].add(c.hidden[*after.hidden_row * 3 + i], 0.0);
  }
  return check;
}

}  // namespace

std::vector<ProbeCheck> sample_checks(ProbeMemory& memory) { return {make_sample_check(memory)}; }

std::vector<ProbeCheck> draft_checks(ProbeMemory& memory) { return {make_draft_check(memory)}; }

}  // namespace kimberlite::runtime
