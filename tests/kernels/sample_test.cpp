// Sampling on the device against sampling on the host: the same token in every case.
#include "kernels/sample.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include "kernels/sample_oracle.hpp"
#include "shaders/common/columns.h"
#include "shaders/common/sampling.h"
#include "shaders/modules.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using shaders::Column;
using shaders::SequenceState;

using Random = std::independent_bits_engine<std::mt19937, 32, uint32_t>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// What one recorded sampling pass works on: a sequence for each column unless `columns` says
/// otherwise.
struct Batch {
  uint32_t vocab = 0;
  std::vector<std::vector<float>> logits;     // [n][vocab]
  std::vector<Column> columns;                // [n]
  std::vector<SequenceState> states;          // [n_sequences]
  std::vector<std::vector<uint32_t>> counts;  // [n_sequences][vocab]
  std::vector<uint32_t> suppress;

  void add_column(std::vector<float> row, const SamplingSettings& settings, uint32_t position) {
    vocab = static_cast<uint32_t>(row.size());
    logits.push_back(std::move(row));
    columns.push_back({0, position, static_cast<uint32_t>(states.size()), 1});
    SequenceState state{};
    state.position = position + 1;
    state.token_limit = 1000;
    state.context_limit = 1u << 20;
    set_sampling(state, settings);
    states.push_back(state);
    counts.emplace_back(vocab);
  }

  /// What the host draws for a column, without drafts.
  [[nodiscard]] std::optional<uint32_t> expected(size_t column) const {
    const Column& c = columns[column];
    const HostSample in{logits[column], counts[c.sequence], {}, suppress, c.position + 1};
    return sample_on_host(in, states[c.sequence]);
  }
};

template <typename T>
std::vector<T> flat(const std::vector<std::vector<T>>& rows) {
  std::vector<T> all;
  for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

template <typename T>
std::vector<uint32_t> as_words(const std::vector<T>& values) {
  std::vector<uint32_t> words(values.size() * sizeof(T) / 4);
  std::memcpy(words.data(), values.data(), words.size() * 4);
  return words;
}

std::string describe(const SequenceState& s) {
  return ::testing::PrintToString(s.inverse_temperature) + " k " +
         ::testing::PrintToString(s.top_k) + " p " + ::testing::PrintToString(s.top_p_scaled) +
         " min_p " + ::testing::PrintToString(s.log_min_p);
}

class SampleTest : public testing::GpuTest {
 protected:
  SampleInputs upload_inputs(const Batch& batch) {
    const uint64_t n = batch.logits.size();
    const uint64_t n_sequences = batch.states.size();
    SampleInputs in;
    in.logits = upload(flat(batch.logits), Shape{n, batch.vocab});
    in.columns = upload(as_words(batch.columns), Shape{n, 4});
    in.states = upload(as_words(batch.states), Shape{n_sequences, 24});
    in.counts = upload(flat(batch.counts), Shape{n_sequences, batch.vocab});
    if (!batch.suppress.empty()) in.suppress = upload(batch.suppress, Shape{batch.suppress.size()});
    return in;
  }

  std::vector<uint32_t> draw(const Batch& batch) {
    const Tensor tokens = poisoned(DType::u32, Shape{batch.logits.size()});
    Graph graph(caps_);
    add_sample_tokens(graph, upload_inputs(batch), tokens, "sample");
    run(graph);
    return download_u32(tokens);
  }

  /// Recorded once, for many batches of the same shape.
  struct Recorded {
    SampleInputs in;
    Tensor tokens;
    vk::Buffer scratch;
    std::optional<graph::Executable> executable;
  };

  Recorded record(const Batch& batch) {
    Recorded pass;
    pass.in = upload_inputs(batch);
    pass.tokens = poisoned(DType::u32, Shape{batch.logits.size()});
    Graph graph(caps_);
    add_sample_tokens(graph, pass.in, pass.tokens, "sample");
    const graph::Plan plan = make_plan(graph);
    pass.scratch =
        vk::Buffer::make(*gpu_.device, plan.scratch_bytes, vk::MemoryKind::device, "scratch")
            .value();
    pass.executable = graph::Executable::make(*gpu_.device, *gpu_.pipelines, graph, plan,
                                              {&pass.scratch, 0, pass.scratch.n_bytes()})
                          .value();
    return pass;
  }

  template <typename T>
  void write(const Tensor& tensor, const std::vector<T>& values) {
    ASSERT_EQ(values.size() * sizeof(T), tensor.n_bytes);
    const vk::BufferRange range{tensor.buffer, tensor.offset_bytes, tensor.n_bytes};
    ASSERT_TRUE(vk::write_range(*gpu_.device, range, values.data(), tensor.n_bytes).ok());
  }

  std::vector<uint32_t> replay(const Recorded& pass, const Batch& batch) {
    write(pass.in.logits, flat(batch.logits));
    write(pass.in.columns, batch.columns);
    write(pass.in.states, batch.states);
    write(pass.in.counts, flat(batch.counts));
    write(pass.in.suppress, batch.suppress);
    const VkCommandBuffer commands = pass.executable->commands();
    const uint64_t value = gpu_.device->submit({&commands, 1}).value();
    EXPECT_TRUE(gpu_.device->wait(value).ok());
    return download_u32(pass.tokens);
  }

  /// Random batches of one shape.
  void expect_oracle(uint32_t vocab, uint32_t n, int n_batches, Random& random);
};

/// Rows of logits with everything that makes selection hard.
std::vector<float> make_row(uint32_t vocab, Random& random) {
  const uint32_t kind = random() % 8;
  std::normal_distribution<float> normal(0.0f, kind == 0 ? 8.0f : 3.0f);
  std::vector<float> row(vocab);
  for (float& value : row) {
    value = normal(random);
    if (kind == 1) value = std::round(value);                 // ties everywhere
    if (kind == 2) value = 1.5f;                              // nothing but ties
    if (kind == 3 && random() % 4 != 0) value = -kInfinity;   // masked
    if (kind == 4 && random() % 5 == 0) value = kNaN;         // a broken device
    if (kind == 5) value = value * 1e-3f;                     // flat
    if (kind == 6) value = random() % 2 != 0 ? 0.0f : -0.0f;  // equal, not in their bits
  }
  if (kind == 7) {
    for (const float extreme : {kInfinity, 1e38f, -1e38f, 1e-40f, -3e38f}) {
      row[random() % vocab] = extreme;
    }
  }
  return row;
}

template <typename T, size_t N>
T one_of(const T (&values)[N], Random& random) {
  return values[random() % N];
}

SamplingSettings make_settings(uint32_t vocab, Random& random) {
  SamplingSettings settings;
  settings.temperature = one_of({0.0f, 1e-3f, 0.7f, 1.0f, 1.0f, 3.0f, 100.0f}, random);
  settings.top_k = one_of({0u, 0u, 1u, 3u, 64u, vocab - 1, vocab, vocab + 5}, random);
  settings.top_p = one_of({0.0f, 1e-6f, 0.5f, 0.95f, 0.999f, 1.0f, 1.0f}, random);
  settings.min_p = one_of({0.0f, 0.0f, 0.05f, 1.0f}, random);
  settings.repeat_penalty = one_of({1.0f, 1.0f, 1.3f, 0.8f}, random);
  settings.presence_penalty = one_of({0.0f, 0.0f, 0.6f}, random);
  settings.frequency_penalty = one_of({0.0f, 0.0f, -0.2f, 0.3f}, random);
  settings.seed = uint64_t{random()} << 32 | random();
  return settings;
}

Batch make_batch(uint32_t vocab, uint32_t n, Random& random) {
  Batch batch;
  for (uint32_t c = 0; c < n; ++c) {
    batch.add_column(make_row(vocab, random), make_settings(vocab, random), random() % 262143);
    for (uint32_t& count : batch.counts.back()) count = random() % 4 == 0 ? random() % 5 : 0;
  }
  batch.suppress = {UINT32_MAX, UINT32_MAX};
  if (random() % 2 != 0) batch.suppress = {vocab - 1, random() % vocab};
  return batch;
}

void SampleTest::expect_oracle(uint32_t vocab, uint32_t n, int n_batches, Random& random) {
  const Recorded pass = record(make_batch(vocab, n, random));
  for (int i = 0; i < n_batches; ++i) {
    const Batch batch = make_batch(vocab, n, random);
    const std::vector<uint32_t> tokens = replay(pass, batch);
    for (uint32_t c = 0; c < n; ++c) {
      ASSERT_EQ(tokens[c], batch.expected(c).value_or(0))
          << "vocabulary " << vocab << ", batch " << i << ", column " << c << ", 1/temperature "
          << describe(batch.states[c]);
    }
  }
}

TEST_F(SampleTest, DrawsWhatTheOracleDraws) {
  Random random(1);
  expect_oracle(1, 8, 2, random);
  expect_oracle(7, 8, 60, random);
  expect_oracle(517, 8, 200, random);
  expect_oracle(1024, 8, 10, random);
  expect_oracle(5003, 8, 40, random);
}

TEST_F(SampleTest, DrawsWhatTheOracleDrawsFromTheWholeVocabulary) {
  Random random(2);
  expect_oracle(262144, 3, 5, random);
}

/// The longest lists to select from, and a search for top-p over many bins: what costs the most
/// rounds of loops (Caps::max_loop_rounds).
TEST_F(SampleTest, DrawsWhatTheOracleDrawsWhereEveryTokenIsListed) {
  constexpr uint32_t kVocab = 262144;
  Batch batch;
  for (const float top_p : {0.5f, 0.999f}) {
    SamplingSettings settings;
    settings.top_k = kVocab - 1;
    settings.top_p = top_p;
    batch.add_column(std::vector<float>(kVocab, 1.5f), settings, 77);
    // All but a few in the last bin; the others alone, far apart.
    std::vector<float> row(kVocab, -40.0f);
    for (uint32_t i = 0; i < 2000; ++i) row[i] = -0.0199f * static_cast<float>(i);
    batch.add_column(std::move(row), settings, 78);
  }
  const std::vector<uint32_t> tokens = draw(batch);
  for (size_t c = 0; c < tokens.size(); ++c) EXPECT_EQ(tokens[c], batch.expected(c)) << c;
}

TEST_F(SampleTest, ColumnsDoNotDependOnTheirNumber) {
  Random random(3);
  const Batch together = make_batch(2100, 8, random);
  const std::vector<uint32_t> tokens = draw(together);
  for (size_t c = 0; c < 8; ++c) {
    Batch alone;
    alone.add_column(together.logits[c], {}, together.columns[c].position);
    alone.states[0] = together.states[c];
    alone.counts[0] = together.counts[c];
    alone.suppress = together.suppress;
    EXPECT_EQ(draw(alone)[0], tokens[c]) << c;
  }
}

TEST_F(SampleTest, DraftsCountForTheColumnsAfterThem) {
  Random random(4);
  SamplingSettings settings;
  settings.repeat_penalty = 2.0f;
  settings.frequency_penalty = 0.5f;
  settings.top_k = 20;
  bool mattered = false;
  for (int i = 0; i < 10; ++i) {
    Batch batch;
    for (uint32_t c = 0; c < 4; ++c)
      batch.add_column(random_values(31, random(), 1.0f), settings, 9);
    batch.states.resize(1);
    batch.counts.resize(1);
    batch.counts[0][3] = 2;
    const std::vector<uint32_t> drafts = {5, 7, 5};
    // Column 0 is the last emitted token, counted already; drafts follow it.
    for (uint32_t c = 0; c < 4; ++c) batch.columns[c] = {c == 0 ? 3 : drafts[c - 1], 9 + c, 0, 1};
    const std::vector<uint32_t> tokens = draw(batch);
    for (uint32_t c = 0; c < 4; ++c) {
      HostSample in{batch.logits[c], batch.counts[0], std::span(drafts).first(c), {}, 10 + c};
      EXPECT_EQ(tokens[c], sample_on_host(in, batch.states[0]));
      in.drafts = {};
      mattered |= tokens[c] != sample_on_host(in, batch.states[0]);
    }
  }
  EXPECT_TRUE(mattered);
}

/// The same numbers on every driver, today and tomorrow: a seed is a promise to users.
TEST_F(SampleTest, DrawsTheTokensItAlwaysDrew) {
  SamplingSettings settings;
  settings.top_p = 0.95f;
  settings.top_k = 64;
  settings.seed = 1234;
  std::vector<float> row(3000);
  for (uint32_t i = 0; i < row.size(); ++i) {
    row[i] = static_cast<float>((i * 2654435761u) >> 8) * 0x1p-20f;
  }
  Batch batch;
  for (uint32_t c = 0; c < 8; ++c) batch.add_column(row, settings, 100 + c);
  EXPECT_EQ(draw(batch), (std::vector<uint32_t>{2838, 1364, 1940, 55, 2927, 1097, 1851, 2118}));
}

struct Advance {
  std::vector<uint32_t> ring, reports;
  std::vector<uint32_t> columns, states, counts;
};

class AdvanceTest : public SampleTest {
 protected:
  static constexpr uint32_t kCapacity = 4;

  /// `n_steps` passes over the same logits.
  Advance advance(const Batch& batch, uint32_t n_steps) {
    const uint64_t n_sequences = batch.states.size();
    const SampleInputs in = upload_inputs(batch);
    const SampleOutputs out{poisoned(DType::u32, Shape{n_sequences, kCapacity}),
                            poisoned(DType::u32, Shape{n_sequences, 4})};
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
    const std::vector<uint32_t> report(device.reports.begin() + 4 * s,
                                       device.reports.begin() + 4 * s + 4);
    EXPECT_EQ(report, (std::vector{state.n_emitted, state.done, state.position, last[s]})) << s;
  }
  for (const uint32_t s : {2u, 3u}) EXPECT_EQ(device.reports[4 * s], UINT32_MAX) << "untouched";
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

/// Draws with different seeds and positions follow the softmax of what the filters keep.
void expect_distribution(const SamplingSettings& settings, const std::vector<double>& expected) {
  const std::vector<float> row = {1.0f, -0.5f, 2.0f, 0.3f, -2.0f, 1.7f};
  constexpr uint32_t kDraws = 20000;
  std::vector<uint32_t> seen(row.size());
  SequenceState state{};
  for (uint32_t i = 0; i < kDraws; ++i) {
    SamplingSettings seeded = settings;
    seeded.seed = i / 100;
    set_sampling(state, seeded);
    const HostSample in{row, {}, {}, {}, i % 100};
    ++seen[sample_on_host(in, state).value()];
  }
  double total = 0;
  for (const double weight : expected) total += weight;
  double chi_square = 0;
  for (size_t i = 0; i < seen.size(); ++i) {
    const double mean = kDraws * expected[i] / total;
    if (mean == 0) {
      EXPECT_EQ(seen[i], 0u) << i;
    } else {
      chi_square += (seen[i] - mean) * (seen[i] - mean) / mean;
    }
  }
  EXPECT_LT(chi_square, 20.5) << "5 degrees of freedom: 1 in 1000";
}

TEST(SampleOracleTest, DrawsFollowTheSoftmaxOfTheSurvivors) {
  const auto softmax = [](std::vector<double> logits) {
    for (double& value : logits) value = std::exp(value);
    return logits;
  };
  expect_distribution({}, softmax({1.0, -0.5, 2.0, 0.3, -2.0, 1.7}));
  expect_distribution({.temperature = 2.0f}, softmax({0.5, -0.25, 1.0, 0.15, -1.0, 0.85}));
  // Weights are 7.39, 5.47, 2.72, 1.35, 0.61, 0.14 in order.
  expect_distribution({.top_k = 3}, {std::exp(1.0), 0, std::exp(2.0), 0, 0, std::exp(1.7)});
  // Of 15.58 after top-k, the best two have 0.826: the third is needed for 0.83.
  expect_distribution({.top_k = 3, .top_p = 0.82f}, {0, 0, std::exp(2.0), 0, 0, std::exp(1.7)});
  expect_distribution({.top_k = 3, .top_p = 0.83f},
                      {std::exp(1.0), 0, std::exp(2.0), 0, 0, std::exp(1.7)});
  expect_distribution({.min_p = 0.15f},
                      {std::exp(1.0), 0, std::exp(2.0), std::exp(0.3), 0, std::exp(1.7)});
}

TEST(SampleOracleTest, NoiseIsGumbelToTheLastDigits) {
  for (uint64_t bits = 0; bits < 1ull << 32; bits += 1048573) {
    const double tail = (static_cast<double>(bits) + 0.5) * 0x1p-32;
    const double exact = -std::log(-std::log1p(-tail));
    // 2 ulp of the inner logarithm shift the outer one by as much; 2 ulp of a result below 32.
    EXPECT_NEAR(shaders::gumbel(static_cast<uint32_t>(bits)), exact,
                4 * 0x1p-24 + 4 * 0x1p-24 * std::abs(exact))
        << bits;
  }
  EXPECT_TRUE(std::isfinite(shaders::gumbel(0)) && std::isfinite(shaders::gumbel(UINT32_MAX)));
}

/// Counts float products, sums and differences of a module that a driver might fuse.
uint32_t n_contractible(std::span<const uint32_t> words) {
  constexpr uint32_t kOpDecorate = 71, kNoContraction = 42, kOpFAdd = 129, kOpFMul = 133;
  std::set<uint32_t> decorated;
  uint32_t n = 0;
  for (size_t i = 5; i < words.size(); i += words[i] >> 16) {
    const uint32_t op = words[i] & 0xffffu;
    if (op == kOpDecorate && words[i + 2] == kNoContraction) decorated.insert(words[i + 1]);
    const bool is_float = op == kOpFAdd || op == kOpFAdd + 2 || op == kOpFMul;  // OpFSub is 131
    if (is_float && !decorated.contains(words[i + 2])) ++n;
  }
  return n;
}

TEST(SampleOracleTest, NoDriverMayFuseWhatTheHostDoesNot) {
  for (const graph::KernelDesc* kernel : sample_kernels()) {
    const shaders::Module* module = shaders::find_module(kernel->variants[0].module);
    ASSERT_NE(module, nullptr) << kernel->name;
    EXPECT_EQ(n_contractible(module->words), 0u) << kernel->name;
  }
}

TEST(SampleOracleTest, PhiloxMatchesItsAuthors) {
  // Random123, kat_vectors: philox4x32 10 rounds, counter and key of zeros.
  const shaders::Random4 random = shaders::philox(0, 0, 0, 0);
  EXPECT_EQ(random.x, 0x6627e8d5u);
  EXPECT_EQ(random.y, 0xe169c58du);
  EXPECT_EQ(random.z, 0xbc57ac4cu);
  EXPECT_EQ(random.w, 0x9b00dbd8u);
}

TEST(SampleOracleTest, SettingsOutOfRangeAreNamed) {
  EXPECT_TRUE(check_sampling({}).ok());
  const Status status = check_sampling({.top_p = 1.5f});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "top_p: expected 0 to 1, got 1.5");
  EXPECT_FALSE(check_sampling({.temperature = kNaN}).ok());
}

}  // namespace
}  // namespace kimberlite::kernels
