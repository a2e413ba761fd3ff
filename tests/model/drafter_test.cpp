// Drafters against the official implementation, over the text of their targets' goldens.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "drafter_fixture.hpp"
#include "kernels/cluster_logits.hpp"
#include "support/golden.hpp"

namespace kimberlite::testing {
namespace {

constexpr const char* kDrafters[] = {"tiny12", "tiny31", "tiny26", "tiny-e2b", "tiny-e4b"};

class DrafterTest : public ::testing::TestWithParam<const char*> {
 protected:
  DrafterTest() {
    text_.insert(text_.end(), model_.greedy.begin(), model_.greedy.end());
    decoder_.keep({"result"});
  }

  /// The target up to `position`; its last hidden state.
  std::vector<float> decode_to(uint32_t position) {
    for (; n_decoded_ < position; ++n_decoded_) decoder_.columns({text_[n_decoded_]}, n_decoded_);
    return decoder_.kept<float>("result");
  }

  const std::string name_ = fmt::format("{}-drafter", GetParam());
  const Golden model_ = require_value(Golden::load(GetParam()));
  const Golden golden_ = require_value(Golden::load(name_));
  const std::vector<uint32_t> positions_ = golden_.header.at("positions");
  const std::vector<std::vector<int32_t>> drafts_ = golden_.header.at("drafts");
  std::vector<int32_t> text_ = model_.tokens;
  TinyModel target_{GetParam(), model_.seed, formats::GgmlType::f32, precise()};
  TinyDrafter drafter_{target_, name_, golden_.header.at("seed"), formats::GgmlType::f32,
                       /*precise=*/true};
  DecoderRun decoder_{target_, kernels::KvType::f32};
  DraftRun run_{drafter_, decoder_};
  uint32_t n_decoded_ = 0;
};

/// The largest difference; infinite where one has a logit and the other none. The official head
/// gives tokens without one the smallest logit - 1.
double difference_of(const std::vector<float>& actual, const std::vector<float>& golden,
                     bool is_sparse) {
  const float none = *std::ranges::min_element(golden);
  double worst = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    const bool has_logit = !is_sparse || golden[i] != none;
    if (has_logit != (actual[i] != kernels::kNoLogit)) return INFINITY;
    if (!has_logit) continue;
    const double difference = std::abs(double{actual[i]} - golden[i]);
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

TEST_P(DrafterTest, RoundsAgree) {
  const bool is_sparse = drafter_.config().clusters.n != 0;
  double worst = 0;
  for (size_t i = 0; i < positions_.size(); ++i) {
    const uint32_t position = positions_[i];
    SCOPED_TRACE(position);
    const std::vector<float> hidden = decode_to(position);
    const std::vector<int32_t>& expected = drafts_[i];
    const auto round = run_.round(position, text_[position], hidden, expected.size());
    for (size_t n = 0; n < expected.size(); ++n) {
      EXPECT_EQ(round[n].token, expected[n]) << n;
      const auto golden = golden_.array("logits").row(i, n);
      worst = std::max(worst, difference_of(round[n].logits, golden, is_sparse));
      ASSERT_LE(worst, 1e-3) << n;
    }
  }
  RecordProperty("max_difference", fmt::format("{:.1e}", worst));
}

/// One graph for all drafts of a round computes the same bits.
TEST_P(DrafterTest, DraftsOfOneGraphAreThoseOfMany) {
  const uint32_t position = positions_[3];
  const std::vector<float> hidden = decode_to(position);
  const auto single = run_.round(position, text_[position], hidden, drafts_[3].size());
  std::vector<int32_t> tokens{text_[position]};
  for (const Draft& draft : single) tokens.push_back(draft.token);
  tokens.pop_back();
  const auto chain = run_.chain(position, tokens, hidden);
  ASSERT_EQ(chain.size(), single.size());
  for (size_t n = 0; n < chain.size(); ++n) {
    EXPECT_EQ(chain[n].token, single[n].token) << n;
    EXPECT_TRUE(chain[n].logits == single[n].logits) << n;
  }
}

/// What lies behind the text is of no interest: the rows of guesses that were not accepted.
TEST_P(DrafterTest, RejectedKeysAreNotSeen) {
  const uint32_t position = positions_[3];
  const std::vector<float> hidden = decode_to(position);
  const auto before = run_.round(position, text_[position], hidden, 2);
  decoder_.columns({11, 12, 13, 14}, position);
  const auto after = run_.round(position, text_[position], hidden, 2);
  for (size_t n = 0; n < before.size(); ++n) {
    EXPECT_TRUE(before[n].logits == after[n].logits) << n;
  }
}

/// Packed rows of other types, in the order of the clusters where the head is sparse, stand for the
/// values that the file says.
TEST_P(DrafterTest, QuantisedWeightsAreExact) {
  const uint32_t position = positions_[3];
  const std::vector<float> hidden = decode_to(position);
  for (const formats::GgmlType type : {formats::GgmlType::q8_0, formats::GgmlType::q4_0}) {
    synthetic::ModelTypes types(type);
    const TinyDrafter stored(target_, name_, 1, types, /*precise=*/true);
    types.as_f32 = true;
    const TinyDrafter plain(target_, name_, 1, types, /*precise=*/true);
    const Draft a = DraftRun(stored, decoder_).round(position, text_[position], hidden, 1)[0];
    const Draft b = DraftRun(plain, decoder_).round(position, text_[position], hidden, 1)[0];
    EXPECT_EQ(a.token, b.token);
    EXPECT_LE(max_difference(a.logits, b.logits), 1e-3) << formats::traits(type).name;
  }
}

/// The cosine between the logits that both have.
double likeness(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == kernels::kNoLogit || b[i] == kernels::kNoLogit) continue;
    ab += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

/// Where the device rounds activations, every product of a draft takes them rounded: the drafts are
/// about the same. A wrong part of the input or a wrong row would leave nothing alike.
TEST_P(DrafterTest, RoundedActivationsSayAboutTheSame) {
  const uint32_t position = positions_[3];
  const std::vector<float> hidden = decode_to(position);
  const TinyDrafter exact(target_, name_, 1, formats::GgmlType::q4_0, /*precise=*/true);
  const TinyDrafter rounded(target_, name_, 1, formats::GgmlType::q4_0, /*precise=*/false);
  const Draft a = DraftRun(exact, decoder_).round(position, text_[position], hidden, 1)[0];
  const Draft b = DraftRun(rounded, decoder_).round(position, text_[position], hidden, 1)[0];
  const double cosine = likeness(a.logits, b.logits);
  RecordProperty("cosine", fmt::format("{:.4f}", cosine));
  EXPECT_GT(cosine, 0.999);
}

/// The layers' dispatches as in a decoder, and few around them.
TEST_P(DrafterTest, ADraftTakesFewDispatches) {
  // Embedding, projection, norm, head; a sparse head: centroids, choice, rows, their places.
  const bool is_sparse = drafter_.config().clusters.n != 0;
  const uint32_t n = 4 * 8 + (is_sparse ? 7 : 4);
  const uint32_t n_last = run_.n_dispatches(2) - run_.n_dispatches(1);
  EXPECT_GE(n_last, n);
  EXPECT_LE(n_last, n + 4);  // where attention splits its keys
  EXPECT_EQ(run_.n_dispatches(3) - run_.n_dispatches(2), n_last + 1);  // the next hidden state
}

INSTANTIATE_TEST_SUITE_P(Models, DrafterTest, ::testing::ValuesIn(kDrafters), golden_test_name);

}  // namespace
}  // namespace kimberlite::testing
