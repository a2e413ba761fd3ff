// Sequences that move on: by one token, by drafts that are verified, and drafts themselves. The
// device against the host, and rounds with drafts against steps without.
#include <algorithm>
#include <array>
#include <limits>

#include "kernels/accept_oracle.hpp"
#include "kernels/sample_pass.hpp"
#include "kernels/sample_support.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using shaders::Column;
using shaders::SequenceReport;
using shaders::SequenceState;

using Random = std::independent_bits_engine<std::mt19937, 32, uint32_t>;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Advance {
  std::vector<uint32_t> ring, reports;
  std::vector<uint32_t> columns, states, counts;
};

class AdvanceTest : public SamplePassTest {
 protected:
  static constexpr uint32_t kCapacity = 4;

  /// `n_steps` passes over the same logits.
  Advance advance(const Batch& batch, uint32_t n_steps) {
    const uint64_t n_sequences = batch.states.size();
    const SampleInputs in = upload_inputs(batch);
    const SampleOutputs out{poisoned(DType::u32, Shape{n_sequences, kCapacity}),
                            poisoned(DType::u32, Shape{n_sequences, 6})};
    Graph graph(caps_);
    for (uint32_t i = 0; i < n_steps; ++i) add_sample(graph, in, out, "sample");
    run(graph);
    return {download_u32(out.ring), download_u32(out.reports), download_u32(in.columns),
            download_u32(in.states), download_u32(in.counts)};
  }
};

TEST_F(AdvanceTest, MovesSequencesOnUntilTheyAreDone) {
  constexpr uint32_t kVocab = 40;
  SamplingSettings settings;
  settings.frequency_penalty = 1.0f;
  Batch batch;
  for (uint32_t c = 0; c < 5; ++c) {
    settings.seed = c;
    batch.add_column(random_values(kVocab, c + 1), settings, 10 + c);
  }
  std::swap(batch.columns[0].sequence, batch.columns[1].sequence);
  batch.columns[0].position = 11;
  batch.columns[1].position = 10;
  batch.columns[2].is_active = 0;
  batch.states[0].token_limit = 5;
  batch.states[1].context_limit = 15;
  batch.states[3].done = shaders::kDoneStopId;
  batch.states[4].n_stop = 8;
  for (uint32_t i = 0; i < 8; ++i) batch.states[4].stop[i] = 3 * i;

  Batch host = batch;
  std::vector<std::vector<uint32_t>> ring(5, std::vector<uint32_t>(kCapacity, UINT32_MAX));
  std::vector<uint32_t> last(5);
  for (uint32_t step = 0; step < 9; ++step) {
    for (uint32_t c = 0; c < 5; ++c) {
      Column& column = host.columns[c];
      SequenceState& state = host.states[column.sequence];
      if (column.is_active == 0 || state.done != shaders::kRunning) continue;
      const uint32_t token = host.expected(c).value();
      last[column.sequence] = token;
      ring[column.sequence][state.n_emitted++ % kCapacity] = token;
      ++host.counts[column.sequence][token];
      state.position = column.position + 2;
      if (state.position >= state.context_limit) state.done = shaders::kDoneContextLimit;
      if (state.n_emitted >= state.token_limit) state.done = shaders::kDoneTokenLimit;
      const auto stop = std::span(state.stop).first(state.n_stop);
      if (std::ranges::count(stop, token) != 0) state.done = shaders::kDoneStopId;
      column = {token, column.position + 1, column.sequence, state.done == 0 ? 1u : 0u};
    }
  }
  EXPECT_EQ(host.states[0].done, shaders::kDoneTokenLimit);
  EXPECT_EQ(host.states[1].done, shaders::kDoneContextLimit);
  EXPECT_EQ(host.states[4].done, shaders::kDoneStopId);

  const Advance device = advance(batch, 9);
  EXPECT_EQ(device.ring, flat(ring));
  EXPECT_EQ(device.columns, as_words(host.columns));
  EXPECT_EQ(device.states, as_words(host.states));
  EXPECT_EQ(device.counts, flat(host.counts));
  for (const uint32_t s : {0u, 1u, 4u}) {
    const SequenceState& state = host.states[s];
    const std::vector<uint32_t> report(device.reports.begin() + 6 * s,
                                       device.reports.begin() + 6 * s + 6);
    EXPECT_EQ(report, (std::vector{state.n_emitted, state.done, state.position, last[s], 0u, 0u}))
        << s;
  }
  for (const uint32_t s : {2u, 3u}) EXPECT_EQ(device.reports[6 * s], UINT32_MAX) << "untouched";
}

TEST_F(AdvanceTest, ASequenceWithoutCandidatesEmitsNothing) {
  Batch batch;
  batch.add_column(std::vector<float>(50, kNaN), {}, 3);
  const Advance device = advance(batch, 2);
  EXPECT_EQ(device.ring, std::vector<uint32_t>(kCapacity, UINT32_MAX));
  EXPECT_EQ(device.reports[1], shaders::kDoneNoCandidate);
  EXPECT_EQ(device.columns, (std::vector<uint32_t>{0, 3, 0, 0}));
  EXPECT_EQ(device.counts, std::vector<uint32_t>(50));
}

constexpr uint32_t kVocab = 16;
constexpr uint32_t kChunks = 3;
constexpr uint32_t kRing = 8;
constexpr uint32_t kWidth = 5;
constexpr uint32_t kUntouched = UINT32_MAX;

/// What a pass over many sequences leaves, each with as many columns.
struct Advanced {
  std::vector<uint32_t> columns, states, counts, ring, reports, hidden;
  bool operator==(const Advanced&) const = default;
};

uint32_t first_count(uint32_t sequence, uint32_t token) { return (sequence + token) % 3; }
uint32_t hidden_word(uint64_t row, uint32_t i) {
  return static_cast<uint32_t>(row) * kWidth + i + 1;  // subnormal floats: copied as they are
}

/// The memory of all sequences before the pass.
Advanced before(const std::vector<HostRound>& rounds) {
  Advanced m;
  const auto n = static_cast<uint32_t>(rounds.size());
  std::vector<Column> columns;
  std::vector<SequenceState> states;
  for (const HostRound& round : rounds) {
    columns.insert(columns.end(), round.columns.begin(), round.columns.end());
    states.push_back(round.state);
  }
  m.columns = as_words(columns);
  m.states = as_words(states);
  for (uint32_t s = 0; s < n; ++s) {
    for (uint32_t token = 0; token < kVocab; ++token) m.counts.push_back(first_count(s, token));
  }
  m.ring.assign(n * kRing, kUntouched);
  m.reports.assign(n * kReportWords, kUntouched);
  m.hidden.assign(n * kWidth, kUntouched);
  return m;
}

template <typename T>
void put(std::vector<uint32_t>& words, size_t index, const T& value) {
  std::memcpy(words.data() + index * sizeof(T) / 4, &value, sizeof(T));
}

Advanced advance_all_on_host(const std::vector<HostRound>& rounds) {
  Advanced m = before(rounds);
  const size_t n_columns = rounds[0].columns.size();
  for (size_t s = 0; s < rounds.size(); ++s) {
    const HostAdvance out = advance_on_host(rounds[s]);
    put(m.columns, s * n_columns, out.column);
    put(m.states, s, out.state);
    for (size_t i = 0; i < out.tokens.size(); ++i) {
      ++m.counts[s * kVocab + out.tokens[i]];
      m.ring[s * kRing + (rounds[s].state.n_emitted + i) % kRing] = out.tokens[i];
    }
    if (out.report.has_value()) {
      SequenceReport report = *out.report;
      if (out.tokens.empty()) report.n_emitted = report.position = report.last_token = kUntouched;
      put(m.reports, s, report);
    }
    if (!out.hidden_row.has_value()) continue;
    for (uint32_t i = 0; i < kWidth; ++i) {
      m.hidden[s * kWidth + i] = hidden_word(s * n_columns + *out.hidden_row, i);
    }
  }
  return m;
}

class AcceptTest : public SamplePassTest {
 protected:
  /// Picks of which the best is the one drawn, in any of the chunks.
  static std::vector<uint32_t> make_picks(const std::vector<HostRound>& rounds) {
    std::vector<uint32_t> picks;
    for (const HostRound& round : rounds) {
      for (size_t i = 0; i < round.drawn.size(); ++i) {
        const std::optional<uint32_t>& token = round.drawn[i];
        const size_t chunk = (i + round.state.position) % kChunks;
        for (size_t c = 0; c < kChunks; ++c) {
          const bool any = token.has_value();
          const uint32_t id = any ? *token : 0;
          // The last chunk ties with it, for another token: the lowest id is drawn.
          const bool tie = c == kChunks - 1;
          const uint32_t key = c == chunk ? 900 : (tie ? 900 : 100);
          picks.push_back(any ? key : 0);
          picks.push_back(any ? ~(c == chunk ? id : id + 1) : 0);
        }
      }
    }
    return picks;
  }

  Advanced advance_all(const std::vector<HostRound>& rounds) {
    const Advanced start = before(rounds);
    const uint64_t n = rounds.size();
    const auto n_columns = static_cast<uint32_t>(rounds[0].columns.size());
    const uint64_t n_rows = n * n_columns;
    std::vector<uint32_t> hidden;
    for (uint64_t row = 0; row < n_rows; ++row) {
      for (uint32_t i = 0; i < kWidth; ++i) hidden.push_back(hidden_word(row, i));
    }
    const AdvanceInputs in{upload(start.columns, Shape{n_rows, 4}),
                           upload(start.states, Shape{n, kStateWords}),
                           upload(make_picks(rounds), Shape{n_rows, kChunks, 2}),
                           upload(start.counts, Shape{n, kVocab}), n_columns};
    const SampleOutputs out{poisoned(DType::u32, Shape{n, kRing}),
                            poisoned(DType::u32, Shape{n, kReportWords})};
    AcceptOptions options;
    options.hidden = upload(hidden, Shape{n_rows, kWidth});
    Tensor next = upload(start.hidden, Shape{n, kWidth});
    options.hidden.dtype = next.dtype = DType::f32;
    options.hidden_next = next;
    options.agree = rounds[0].agree;
    Graph graph(caps_);
    add_sample_advance(graph, in, out, options, "advance");
    run(graph);
    next.dtype = DType::u32;
    return {download_u32(in.columns), download_u32(in.states),   download_u32(in.counts),
            download_u32(out.ring),   download_u32(out.reports), download_u32(next)};
  }

  void expect_oracle(const std::vector<HostRound>& rounds) {
    const Advanced device = advance_all(rounds);
    const Advanced host = advance_all_on_host(rounds);
    EXPECT_EQ(device.columns == host.columns, true);
    EXPECT_EQ(device.states == host.states, true);
    EXPECT_EQ(device.counts == host.counts, true);
    EXPECT_EQ(device.ring == host.ring, true);
    EXPECT_EQ(device.reports == host.reports, true);
    EXPECT_EQ(device.hidden == host.hidden, true);
  }
};

/// A sequence that is at `position`, with drafts that are right up to draft `n_right`.
HostRound make_round(uint32_t n_columns, uint32_t n_right, uint32_t sequence = 0) {
  HostRound round;
  round.state.position = 101;
  round.state.n_emitted = 20;
  round.state.token_limit = 1000;
  round.state.context_limit = 1000;
  for (uint32_t i = 0; i < n_columns; ++i) {
    const uint32_t drawn = 3 + i;  // column i draws 3 + i
    const uint32_t draft = i == 0 || i - 1 < n_right ? 2 + i : 15;
    round.columns.push_back({draft, 100 + i, sequence, 1});
    round.drawn.emplace_back(drawn);
  }
  return round;
}

HostRound random_round(uint32_t n_columns, uint32_t sequence, uint32_t agree, Random& random) {
  HostRound round = make_round(n_columns, 0, sequence);
  SequenceState& state = round.state;
  const uint32_t position = random() % 50;
  state.position = position + 1;
  state.n_emitted = random() % 20;
  state.token_limit = random() % 3 == 0 ? state.n_emitted + 1 + random() % 8 : UINT32_MAX;
  state.context_limit = random() % 3 == 0 ? position + 2 + random() % 8 : 1000;
  state.done = random() % 20 == 0 ? 1 + random() % 4 : shaders::kRunning;
  state.n_stop = random() % 3 == 0 ? random() % 10 : 0;  // more than there are: 8 are read
  for (uint32_t& id : state.stop) id = random() % (2 * kVocab);
  round.agree = agree;
  for (uint32_t i = 0; i < n_columns; ++i) {
    round.drawn[i] = random() % kVocab;
    if (random() % 40 == 0) round.drawn[i].reset();
  }
  for (uint32_t i = 0; i < n_columns; ++i) {
    Column& column = round.columns[i];
    column.position = position + i;
    const bool right = i > 0 && random() % 8 != 0;
    column.token = right ? round.drawn[i - 1].value_or(0) : random() % kVocab;
    const bool stays = i == 0 || round.columns[i - 1].is_active != 0;
    column.is_active = stays && random() % 30 != 0 ? 1 : 0;
  }
  return round;
}

TEST_F(AcceptTest, DoesWhatTheOracleDoesInAHundredThousandCases) {
  constexpr uint32_t kSequences = 3125;
  Random random(7);
  std::array<uint32_t, 9> n_accepted{};
  for (uint32_t n_columns = 1; n_columns <= 8; ++n_columns) {
    for (const uint32_t agree : {0u, 0u, 0u, 0xc0000000u}) {
      std::vector<HostRound> rounds;
      for (uint32_t s = 0; s < kSequences; ++s) {
        rounds.push_back(random_round(n_columns, s, agree, random));
        const HostAdvance out = advance_on_host(rounds.back());
        if (out.report.has_value()) ++n_accepted[out.report->n_accepted];
      }
      SCOPED_TRACE(n_columns);
      expect_oracle(rounds);
    }
  }
  for (uint32_t i = 0; i < 8; ++i) EXPECT_GT(n_accepted[i], 500u) << i;
}

/// What one round changes, against what is known of it, on the host and on the device.
struct Expectation {
  std::vector<uint32_t> tokens;
  uint32_t done = shaders::kRunning;
  uint32_t n_accepted = 0;
  uint32_t n_drafts = 3;
};

class RoundTest : public AcceptTest {
 protected:
  void expect_round(const HostRound& round, const Expectation& expected) {
    const HostAdvance out = advance_on_host(round);
    const auto n = static_cast<uint32_t>(expected.tokens.size());
    EXPECT_EQ(out.tokens, expected.tokens);
    EXPECT_EQ(out.state.done, expected.done);
    EXPECT_EQ(out.state.n_emitted, round.state.n_emitted + n);
    EXPECT_EQ(out.state.position, round.state.position + n);
    EXPECT_EQ(out.column.position, round.columns[0].position + n);
    EXPECT_EQ(out.column.token, n == 0 ? round.columns[0].token : expected.tokens.back());
    EXPECT_EQ(out.column.is_active, expected.done == shaders::kRunning ? 1u : 0u);
    EXPECT_EQ(out.hidden_row.value_or(n - 1), n - 1);
    ASSERT_TRUE(out.report.has_value());
    EXPECT_EQ(out.report->n_accepted, expected.n_accepted);
    EXPECT_EQ(out.report->n_drafts, expected.n_drafts);
    expect_oracle({round});
  }
};

TEST_F(RoundTest, EmitsUpToTheFirstWrongDraft) {
  expect_round(make_round(4, 0), {{3}});
  expect_round(make_round(4, 1), {.tokens = {3, 4}, .n_accepted = 1});
  expect_round(make_round(4, 3), {.tokens = {3, 4, 5, 6}, .n_accepted = 3});
  expect_round(make_round(8, 7),
               {.tokens = {3, 4, 5, 6, 7, 8, 9, 10}, .n_accepted = 7, .n_drafts = 7});
  expect_round(make_round(1, 0), {.tokens = {3}, .n_drafts = 0});
}

TEST_F(RoundTest, ADraftThatIsRightAfterAWrongOneDoesNotCount) {
  HostRound round = make_round(4, 3);
  round.columns[2].token = 0;
  expect_round(round, {.tokens = {3, 4}, .n_accepted = 1});
}

TEST_F(RoundTest, InactiveDraftsEndIt) {
  HostRound round = make_round(4, 3);
  round.columns[2].is_active = round.columns[3].is_active = 0;
  expect_round(round, {.tokens = {3, 4}, .n_accepted = 1, .n_drafts = 1});
}

TEST_F(RoundTest, AStopIdInTheMiddleIsTheLastToken) {
  HostRound round = make_round(4, 3);
  round.state.n_stop = 2;
  round.state.stop[1] = 4;
  expect_round(round, {.tokens = {3, 4}, .done = shaders::kDoneStopId, .n_accepted = 2});
}

TEST_F(RoundTest, TheTokenLimitHoldsInTheMiddle) {
  HostRound round = make_round(4, 3);
  round.state.token_limit = 22;
  expect_round(round, {.tokens = {3, 4}, .done = shaders::kDoneTokenLimit, .n_accepted = 2});
  round.state.token_limit = 24;
  expect_round(round, {.tokens = {3, 4, 5, 6}, .done = shaders::kDoneTokenLimit, .n_accepted = 3});
}

TEST_F(RoundTest, TheContextLimitHoldsInTheMiddle) {
  HostRound round = make_round(4, 3);
  round.state.context_limit = 104;  // the third token gets position 103
  expect_round(round, {.tokens = {3, 4, 5}, .done = shaders::kDoneContextLimit, .n_accepted = 3});
}

TEST_F(RoundTest, WithoutACandidateTheTokensBeforeItStand) {
  HostRound round = make_round(4, 3);
  round.drawn[2].reset();
  expect_round(round, {.tokens = {3, 4}, .done = shaders::kDoneNoCandidate, .n_accepted = 2});
  round.drawn[0].reset();
  expect_round(round, {.tokens = {}, .done = shaders::kDoneNoCandidate});
}

TEST_F(RoundTest, NothingHappensToASequenceThatDoesNotRun) {
  HostRound idle = make_round(4, 3);
  idle.columns[0].is_active = 0;
  HostRound done = make_round(4, 3);
  done.state.done = shaders::kDoneStopId;
  for (const HostRound& round : {idle, done}) {
    EXPECT_FALSE(advance_on_host(round).report.has_value());
    EXPECT_TRUE(advance_all({round}) == before({round}));
  }
}

TEST_F(RoundTest, ForBenchmarksPositionsDecide) {
  HostRound round = make_round(8, 0);
  round.agree = UINT32_MAX;
  expect_round(round, {.tokens = {3, 4, 5, 6, 7, 8, 9, 10}, .n_accepted = 7, .n_drafts = 7});
  uint32_t n_right = 0;
  for (uint32_t position = 0; position < 10000; ++position) {
    n_right += shaders::agree_hash(position) < 0x80000000u ? 1 : 0;
  }
  EXPECT_NEAR(n_right, 5000, 200);
}

}  // namespace
}  // namespace kimberlite::kernels
