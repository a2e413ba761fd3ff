// Rounds of drafting and verification by the kernels of sampling, with a function of (token,
// position) in the place of models: what they emit is what steps one by one emit.
#include <algorithm>
#include <cmath>

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

constexpr uint32_t kVocab = 150;
constexpr uint32_t kRing = 64;
constexpr uint32_t kWidth = 3;
constexpr uint32_t kMostRounds = 100;  // ends what does not end

uint32_t mixed(uint32_t a, uint32_t b) { return shaders::agree_hash(a * 0x9E3779B1u + b); }

/// Logits after `token` at `position`: few tokens are likely, so that drafts can be right by luck.
std::vector<float> logits_of(uint32_t model, const Column& column) {
  const uint32_t key = mixed(mixed(model, column.token), column.position);
  std::vector<float> row(kVocab);
  for (uint32_t i = 0; i < kVocab; ++i) {
    row[i] = static_cast<float>(mixed(key, i) >> 8) * 0x1p-21f + (i < 8 ? 4.0f : 0.0f);
  }
  return row;
}

/// What a drafter with a given chance in 8 of seeing the target's logits thinks.
std::vector<float> draft_logits_of(uint32_t chance, const Column& column) {
  const bool sees = mixed(column.position, 77) % 8 < chance;
  return logits_of(sees ? 1 : 2, column);
}

struct Conversation {
  SequenceState state{};
  Column column{5, 40, 0, 1};
};

Conversation make_conversation(float temperature, bool penalties, uint64_t seed) {
  Conversation c;
  c.state.position = c.column.position + 1;
  c.state.token_limit = 40;
  c.state.context_limit = 1000;
  SamplingSettings settings;
  settings.temperature = temperature;
  settings.top_k = 30;
  settings.seed = seed;
  if (penalties) {
    settings.repeat_penalty = 1.2f;
    settings.presence_penalty = 0.3f;
    settings.frequency_penalty = 0.7f;
  }
  set_sampling(c.state, settings);
  return c;
}

/// How a conversation ended.
struct Outcome {
  std::vector<uint32_t> ring, state, counts, column;
  uint32_t n_drafts = 0, n_accepted = 0, n_rounds = 0;
};

class DraftRoundTest : public SamplePassTest {
 protected:
  /// The device memory of one sequence with up to 8 columns.
  struct Memory {
    Tensor columns, logits, state, counts, ring, report, next, drafts, suppress, hidden,
        hidden_next;
  };
  Memory memory_;
  std::vector<float> hidden_ = random_values(8 * kWidth, 5);
  std::vector<Recorded> drafts_;   // by the column that is sampled
  std::vector<Recorded> accepts_;  // by the number of drafts
  Recorded step_;

  Tensor blank(uint64_t rows, uint64_t n) {
    return upload(std::vector<uint32_t>(rows * n), Shape{rows, n});
  }
  SampleInputs inputs(uint32_t n_rows, uint32_t n_columns) {
    return {memory_.logits.rows(0, n_rows), memory_.columns.rows(0, n_columns), memory_.state,
            memory_.counts, memory_.suppress};
  }

  void SetUp() override {
    Memory& m = memory_;
    m.columns = blank(8, 4);
    m.logits = poisoned(DType::f32, Shape{8, kVocab});
    m.state = blank(1, kStateWords);
    m.counts = blank(1, kVocab);
    m.ring = blank(1, kRing);
    m.report = blank(1, kReportWords);
    m.next = blank(1, 4);
    m.drafts = blank(1, 8);
    m.suppress = upload(std::vector<uint32_t>{3, 90}, Shape{2});
    m.hidden = upload(hidden_, Shape{8, kWidth});
    m.hidden_next = poisoned(DType::f32, Shape{1, 2 * kWidth});
    for (uint32_t i = 0; i < 8; ++i) {
      Graph accept(caps_);
      add_sample_accept(accept, inputs(i + 1, i + 1), {m.ring, m.report},
                        {m.hidden.rows(0, i + 1), {m.hidden_next, kWidth}}, "accept");
      accepts_.push_back(record(accept));
      if (i == 7) break;
      Graph draft(caps_);
      add_sample_draft(draft, inputs(1, 8), i, {m.next, m.drafts}, "draft");
      drafts_.push_back(record(draft));
    }
    Graph step(caps_);
    add_sample(step, inputs(1, 1), {m.ring, m.report}, "step");
    step_ = record(step);
  }

  void start(const Conversation& conversation) {
    std::vector<Column> columns(8, {1, 41, 0, 1});  // drafts that an earlier round left
    columns[0] = conversation.column;
    write(memory_.columns, columns);
    write(memory_.state, std::vector{conversation.state});
    write(memory_.counts, std::vector<uint32_t>(kVocab));
    write(memory_.ring, std::vector<uint32_t>(kRing, UINT32_MAX));
    write(memory_.hidden_next, std::vector<float>(2 * kWidth));
  }

  std::vector<Column> read_columns() {
    const std::vector<uint32_t> words = download_u32(memory_.columns);
    std::vector<Column> columns(8);
    std::memcpy(columns.data(), words.data(), words.size() * 4);
    return columns;
  }
  SequenceReport read_report() {
    SequenceReport report;
    std::memcpy(&report, download_u32(memory_.report).data(), sizeof(report));
    return report;
  }
  void write_logits(const std::vector<std::vector<float>>& rows) {
    std::vector<float> all = flat(rows);
    all.resize(8 * kVocab, std::nanf(""));
    write(memory_.logits, all);
  }

  Outcome outcome() {
    const auto columns = download_u32(memory_.columns);
    return {download_u32(memory_.ring),
            download_u32(memory_.state),
            download_u32(memory_.counts),
            {columns.begin(), columns.begin() + 4},
            0,
            0,
            0};
  }

  Outcome run_steps(const Conversation& conversation) {
    start(conversation);
    for (uint32_t i = 0; i < kMostRounds && read_columns()[0].is_active != 0; ++i) {
      write_logits({logits_of(1, read_columns()[0])});
      replay(step_);
    }
    return outcome();
  }

  Outcome run_rounds(const Conversation& conversation, uint32_t n_drafts, uint32_t chance) {
    start(conversation);
    Outcome out;
    uint32_t n_emitted = 0;
    while (out.n_rounds < kMostRounds && read_columns()[0].is_active != 0) {
      for (uint32_t i = 0; i < n_drafts; ++i) {
        write_logits({draft_logits_of(chance, read_columns()[i])});
        replay(drafts_[i]);
        const Column draft = read_columns()[i + 1];
        EXPECT_EQ(download_u32(memory_.next), as_words(std::vector{draft}));
        EXPECT_EQ(download_u32(memory_.drafts)[i],
                  draft.is_active != 0 ? draft.token : shaders::kNoDraft);
      }
      std::vector<std::vector<float>> logits;
      for (uint32_t i = 0; i <= n_drafts; ++i) logits.push_back(logits_of(1, read_columns()[i]));
      write_logits(logits);
      replay(accepts_[n_drafts]);
      const SequenceReport report = read_report();
      expect_hidden(report.n_emitted - n_emitted - 1);
      n_emitted = report.n_emitted;
      out.n_drafts += report.n_drafts;
      out.n_accepted += report.n_accepted;
      out.n_rounds += 1;
    }
    Outcome end = outcome();
    end.n_drafts = out.n_drafts;
    end.n_accepted = out.n_accepted;
    end.n_rounds = out.n_rounds;
    return end;
  }

  /// The next round starts from the target's state at the column that drew the last token.
  void expect_hidden(uint32_t row) {
    const auto first = hidden_.begin() + row * kWidth;
    std::vector<float> expected(kWidth);  // what lies before it stays
    expected.insert(expected.end(), first, first + kWidth);
    EXPECT_EQ(download(memory_.hidden_next), expected);
  }

  void expect_same(const Outcome& rounds, const Outcome& steps) {
    EXPECT_EQ(rounds.ring, steps.ring);
    EXPECT_EQ(rounds.state, steps.state);
    EXPECT_EQ(rounds.counts, steps.counts);
    EXPECT_EQ(rounds.column, steps.column);
  }
};

TEST_F(DraftRoundTest, RoundsEmitWhatStepsEmit) {
  uint32_t n_drafts = 0, n_accepted = 0;
  for (uint32_t k = 1; k <= 7; ++k) {
    for (const float temperature : {0.0f, 1.0f}) {
      for (const bool penalties : {false, true}) {
        SCOPED_TRACE(::testing::Message() << k << " drafts, temperature " << temperature
                                          << (penalties ? ", penalties" : ""));
        const Conversation conversation = make_conversation(temperature, penalties, k);
        const Outcome rounds = run_rounds(conversation, k, 6);
        expect_same(rounds, run_steps(conversation));
        n_drafts += rounds.n_drafts;
        n_accepted += rounds.n_accepted;
      }
    }
  }
  EXPECT_GT(n_accepted, n_drafts / 4);
  EXPECT_LT(n_accepted, n_drafts * 3 / 4);
}

TEST_F(DraftRoundTest, RoundsStopWhereStepsStop) {
  for (uint32_t seed = 0; seed < 6; ++seed) {
    Conversation conversation = make_conversation(1.0f, true, seed);
    if (seed % 3 == 0) conversation.state.token_limit = 1 + seed;
    if (seed % 3 == 1) conversation.state.context_limit = 44 + seed;
    if (seed % 3 == 2) {
      conversation.state.n_stop = 4;
      for (uint32_t i = 0; i < 4; ++i) conversation.state.stop[i] = 2 * i;
    }
    SCOPED_TRACE(seed);
    const Outcome steps = run_steps(conversation);
    EXPECT_NE(steps.state[4], shaders::kRunning);
    expect_same(run_rounds(conversation, 4, 8), steps);
  }
}

/// Same settings, same history, same noise: a drafter with the target's logits is always right.
TEST_F(DraftRoundTest, ADrafterThatKnowsTheTargetIsAlwaysRight) {
  for (const float temperature : {0.0f, 1.3f}) {
    const Conversation conversation = make_conversation(temperature, true, 3);
    const Outcome rounds = run_rounds(conversation, 7, 8);
    EXPECT_EQ(rounds.n_rounds, 5u) << "40 tokens in rounds of 8";
    EXPECT_EQ(rounds.n_drafts, 35u);
    EXPECT_EQ(rounds.n_accepted, 35u);
    expect_same(rounds, run_steps(conversation));
  }
}

/// One column to verify is a plain step, bit for bit.
TEST_F(DraftRoundTest, ARoundWithoutDraftsIsAStep) {
  const Conversation conversation = make_conversation(0.9f, true, 4);
  const Outcome rounds = run_rounds(conversation, 0, 0);
  EXPECT_EQ(rounds.n_rounds, 40u);
  const std::vector<uint32_t> report = download_u32(memory_.report);
  expect_same(rounds, run_steps(conversation));
  EXPECT_EQ(download_u32(memory_.report), report);
}

class DraftTest : public DraftRoundTest {
 protected:
  /// The draft after column `index` of these columns.
  Column draft(const Conversation& conversation, const std::vector<Column>& columns, uint32_t index,
               const std::vector<float>& logits) {
    start(conversation);
    write(memory_.columns, columns);
    write_logits({logits});
    replay(drafts_[index]);
    const std::vector<Column> after = read_columns();
    for (uint32_t i = 0; i < 8; ++i) {
      if (i == index + 1) continue;
      EXPECT_EQ(std::memcmp(&after[i], &columns[i], sizeof(Column)), 0) << i;
    }
    EXPECT_EQ(download_u32(memory_.next), as_words(std::vector{after[index + 1]}));
    return after[index + 1];
  }

  static std::vector<Column> make_columns(const Conversation& conversation) {
    std::vector<Column> columns;
    for (uint32_t i = 0; i < 8; ++i) {
      columns.push_back({i + 1, conversation.column.position + i, 0, 1});
    }
    return columns;
  }
};

TEST_F(DraftTest, SeesTheDraftsBeforeItAndNoOthers) {
  bool mattered = false;
  for (uint32_t seed = 0; seed < 8; ++seed) {
    Conversation conversation = make_conversation(1.0f, true, seed);
    std::vector<Column> columns = make_columns(conversation);
    for (Column& column : columns) column.token = mixed(seed, column.position) % 8;
    // An earlier round's leavings, at positions that this one has as well.
    columns[4].position = columns[5].position = columns[1].position;
    const std::vector<float> logits = logits_of(1, columns[3]);
    const Column next = draft(conversation, columns, 3, logits);

    std::vector<uint32_t> history{columns[1].token, columns[2].token, columns[3].token};
    const std::vector<uint32_t> suppress{3, 90};
    const std::vector<uint32_t> counts(kVocab);
    HostSample in{logits, counts, history, suppress, columns[3].position + 1};
    EXPECT_EQ(next.token, sample_on_host(in, conversation.state));
    EXPECT_EQ(next.position, columns[3].position + 1);
    EXPECT_EQ(next.is_active, 1u);
    history.insert(history.end(), {columns[4].token, columns[5].token});
    in.drafts = history;
    mattered |= next.token != sample_on_host(in, conversation.state);
  }
  EXPECT_TRUE(mattered);
}

TEST_F(DraftTest, IsInactiveWhereItCouldBeOfNoUse) {
  const Conversation plain = make_conversation(0.0f, false, 1);
  const std::vector<Column> columns = make_columns(plain);
  const std::vector<float> logits = logits_of(1, columns[2]);
  EXPECT_EQ(draft(plain, columns, 2, logits).is_active, 1u);

  // Column 2 is at position 42, and the token that it draws is the third of the round.
  Conversation full = plain;
  full.state.context_limit = 44;
  EXPECT_EQ(draft(full, columns, 2, logits).is_active, 1u);
  full.state.context_limit = 43;
  const Column outside = draft(full, columns, 2, logits);
  EXPECT_EQ(outside.is_active, 0u);
  EXPECT_LT(outside.position, 43u);

  Conversation limited = plain;
  limited.state.token_limit = 4;
  EXPECT_EQ(draft(limited, columns, 2, logits).is_active, 1u);
  limited.state.token_limit = 3;
  EXPECT_EQ(draft(limited, columns, 2, logits).is_active, 0u);

  std::vector<Column> ended = columns;
  ended[2].is_active = 0;
  const Column after = draft(plain, ended, 2, logits);
  EXPECT_EQ(after.is_active, 0u);
  EXPECT_LT(after.token, kVocab);
  EXPECT_EQ(draft(plain, columns, 2, std::vector<float>(kVocab, NAN)).is_active, 0u);
  Conversation done = plain;
  done.state.done = shaders::kDoneStopId;
  EXPECT_EQ(draft(done, columns, 2, logits).is_active, 0u);
}

}  // namespace
}  // namespace kimberlite::kernels
