// Sampling on the device against sampling on the host: the same token in every case.
#include "kernels/sample.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "kernels/sample_support.hpp"
#include "shaders/common/sampling.h"
#include "shaders/modules.hpp"

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

std::string describe(const SequenceState& s) {
  return ::testing::PrintToString(s.inverse_temperature) + " k " +
         ::testing::PrintToString(s.top_k) + " p " + ::testing::PrintToString(s.top_p_scaled) +
         " min_p " + ::testing::PrintToString(s.log_min_p);
}

class SampleTest : public SamplePassTest {
 protected:
  std::vector<uint32_t> draw(const Batch& batch) {
    const Tensor tokens = poisoned(DType::u32, Shape{batch.logits.size()});
    Graph graph(caps_);
    add_sample_tokens(graph, upload_inputs(batch), tokens, "sample");
    run(graph);
    return download_u32(tokens);
  }

  /// Recorded once, for many batches of the same shape.
  struct Draws {
    SampleInputs in;
    Tensor tokens;
    Recorded pass;
  };

  Draws record_draws(const Batch& batch) {
    Draws draws;
    draws.in = upload_inputs(batch);
    draws.tokens = poisoned(DType::u32, Shape{batch.logits.size()});
    Graph graph(caps_);
    add_sample_tokens(graph, draws.in, draws.tokens, "sample");
    draws.pass = record(graph);
    return draws;
  }

  std::vector<uint32_t> draw(const Draws& draws, const Batch& batch) {
    write(draws.in.logits, flat(batch.logits));
    write(draws.in.columns, batch.columns);
    write(draws.in.states, batch.states);
    write(draws.in.counts, flat(batch.counts));
    write(draws.in.suppress, batch.suppress);
    replay(draws.pass);
    return download_u32(draws.tokens);
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
  const Draws draws = record_draws(make_batch(vocab, n, random));
  for (int i = 0; i < n_batches; ++i) {
    const Batch batch = make_batch(vocab, n, random);
    const std::vector<uint32_t> tokens = draw(draws, batch);
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

/// Each column has a mask of its own; vocabularies end inside a word, at its end and behind it.
TEST_F(SampleTest, DrawsWhatTheMaskAllows) {
  Random random(5);
  for (const uint32_t vocab : {31u, 32u, 33u, 1025u, 5003u}) {
    for (int i = 0; i < 6; ++i) {
      Batch batch = make_batch(vocab, 8, random);
      for (uint32_t c = 0; c < 8; ++c) {
        std::vector<uint32_t>& mask = batch.masks.emplace_back((vocab + 31) / 32);
        for (uint32_t& word : mask) word = c % 2 == 0 ? random() & random() : random() & 1u << 31;
      }
      batch.masks[7].assign(batch.masks[7].size(), 0);
      batch.masks[6].assign(batch.masks[6].size(), UINT32_MAX);
      const std::vector<uint32_t> tokens = draw(batch);
      for (uint32_t c = 0; c < 8; ++c) {
        ASSERT_EQ(tokens[c], batch.expected(c).value_or(0)) << vocab << ", column " << c;
      }
      ASSERT_FALSE(batch.expected(7).has_value());
    }
  }
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
