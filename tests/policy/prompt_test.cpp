// Prompts with pictures and sounds: what two of them have in common, how they are cut into passes,
// and which are refused.
#include "runtime/prompt.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/kv_cache.hpp"
#include "runtime/prefill_plan.hpp"

namespace kimberlite::runtime {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kWidth = 2;

SoftRun run_at(uint32_t first, uint32_t n, uint64_t hash, bool is_block = true) {
  const SoftTokens soft{{hash, ~hash}, n, is_block, std::vector<float>(n * kWidth)};
  return {first, std::make_shared<SoftTokens>(soft)};
}

Prompt prompt_of(uint32_t n_tokens, std::vector<SoftRun> runs) {
  Prompt prompt{std::vector<int32_t>(n_tokens, 7), std::move(runs)};
  for (const SoftRun& run : prompt.runs) {
    for (uint32_t i = run.first; i < run.end(); ++i) prompt.tokens[i] = 9;
  }
  return prompt;
}

TEST(Prompts, TwoPicturesOfOneSizeHaveNothingInCommon) {
  const Prompt a = prompt_of(30, {run_at(5, 10, 1)});
  const Prompt b = prompt_of(30, {run_at(5, 10, 2)});
  ASSERT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(common_items(a, a, 29), 29u);
  EXPECT_EQ(common_items(a, b, 29), 5u);
  EXPECT_EQ(common_items(b, a, 3), 3u);
}

TEST(Prompts, PlaceholdersWithoutAPictureAreOtherItems) {
  const Prompt picture = prompt_of(30, {run_at(5, 10, 1)});
  const Prompt tokens{picture.tokens, {}};
  EXPECT_EQ(common_items(picture, tokens, 29), 5u);
  EXPECT_EQ(common_items(tokens, picture, 29), 5u);
}

TEST(Prompts, ALaterPictureLeavesTheFirstOneInCommon) {
  const Prompt a = prompt_of(40, {run_at(5, 10, 1), run_at(20, 5, 2)});
  const Prompt b = prompt_of(40, {run_at(5, 10, 1), run_at(20, 5, 3)});
  const Prompt moved = prompt_of(40, {run_at(5, 10, 1), run_at(21, 5, 2)});
  EXPECT_EQ(common_items(a, b, 39), 20u);
  EXPECT_EQ(common_items(a, moved, 39), 20u);
}

TEST(Prompts, APictureIsNeverCutButASoundIs) {
  const Prompt picture = prompt_of(40, {run_at(5, 10, 1)});
  const Prompt sound = prompt_of(40, {run_at(5, 10, 1, /*is_block=*/false)});
  EXPECT_EQ(common_items(picture, picture, 9), 5u);
  EXPECT_EQ(common_items(sound, sound, 9), 9u);
  EXPECT_EQ(common_items(picture, picture, 15), 15u);
}

TEST(Prompts, WhatCannotStandThereIsRefused) {
  const auto error = [](const Prompt& prompt) {
    const Status status = check_runs(prompt, kWidth, 12);
    return status.ok() ? std::string() : status.error().message;
  };
  EXPECT_EQ(error(prompt_of(30, {run_at(0, 10, 1), run_at(10, 12, 2)})), "");
  EXPECT_EQ(error(prompt_of(30, {run_at(0, 20, 1, /*is_block=*/false)})), "");
  EXPECT_THAT(error(prompt_of(30, {run_at(0, 13, 1)})),
              HasSubstr("picture 0 has 13 embeddings, at most 12 are possible"));
  EXPECT_THAT(error(prompt_of(10, {run_at(0, 10, 1)})), HasSubstr("before the last of 10 tokens"));
  EXPECT_THAT(error(prompt_of(30, {run_at(5, 10, 1), run_at(14, 2, 1)})),
              HasSubstr("stand at positions 14 to 15, expected a place from 15 on"));
  EXPECT_THAT(error(Prompt{{1, 2, 3}, {{0, nullptr}}}), HasSubstr("no rows"));
  EXPECT_THAT(error(Prompt{{1, 2, 3}, {run_at(0, 0, 1)}}), HasSubstr("no rows"));
  Prompt narrow = prompt_of(30, {run_at(5, 10, 1)});
  EXPECT_THAT(check_runs(narrow, kWidth + 1, 12).error().message,
              HasSubstr("have 20 values, expected 10 rows of 3"));
}

/// Every picture whole in one pass, every position in exactly one, whatever the limit.
TEST(PrefillPlan, NoPassSplitsAPicture) {
  const std::vector<SoftRun> runs{run_at(1, 3, 1), run_at(5, 1120, 2),
                                  run_at(1200, 70, 3, /*is_block=*/false), run_at(1300, 70, 4),
                                  run_at(1371, 256, 5)};
  constexpr uint32_t kEnd = 1900;
  const uint32_t most = largest_pass(1120);
  for (const uint32_t limit : {8u, 64u, 256u}) {
    for (const bool pads : {false, true}) {
      for (uint32_t at = 0; at < kEnd;) {
        SCOPED_TRACE(at);
        const PrefillStep step = pick_prefill_step(runs, at, kEnd, limit, pads);
        ASSERT_GT(step.n_used, 0u);
        ASSERT_LE(step.n_used, step.n_rows);
        ASSERT_LE(step.n_rows, most);
        ASSERT_EQ(step.n_rows % 8, 0u);
        bool has_soft = false;
        for (const SoftRun& run : runs) {
          for (const uint32_t edge : {at, at + step.n_used}) {
            EXPECT_FALSE(run.soft->is_block && run.first < edge && edge < run.end());
          }
          has_soft |= run.first < at + step.n_used && at < run.end();
        }
        EXPECT_EQ(step.has_soft, has_soft);
        at += step.n_used;
        ASSERT_LE(at, kEnd);
      }
    }
  }
}

TEST(PrefillPlan, WithoutPicturesItIsThatOfText) {
  for (const uint32_t left : {1u, 9u, 200u, 5000u}) {
    const PrefillStep step = pick_prefill_step({}, 3, 3 + left, 128, true);
    EXPECT_EQ(step.n_rows, pick_prefill_rows(left, 128, true));
    EXPECT_EQ(step.n_used, std::min(left, step.n_rows));
    EXPECT_FALSE(step.has_soft);
  }
}

TEST(PrefillPlan, RingsHoldTheLargestPictureBesideTheWindow) {
  EXPECT_EQ(largest_pass(0), kMaxPrefillRows);
  EXPECT_EQ(largest_pass(280), 320u);
  EXPECT_EQ(largest_pass(1120), 1152u);
  EXPECT_EQ(ring_rows(1024, 262144, largest_pass(1120)), 1024u + 1152u + kRingSlack);
  EXPECT_EQ(ring_rows(1024, 262144), 1024u + 256u + kRingSlack);
}

}  // namespace
}  // namespace kimberlite::runtime
