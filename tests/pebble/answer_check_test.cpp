// The judge itself: what it must let through, and what it must not.
#include "pebble/answer_check.hpp"

#include <gtest/gtest.h>

namespace kimberlite::testing {
namespace {

using nlohmann::json;

TEST(AnswerCheck, ThoughtsAndWhiteSpaceDoNotCount) {
  EXPECT_EQ(judged_text(" red\n"), "red");
  EXPECT_EQ(judged_text("<|channel>thought\nIt is red.<channel|> red"), "red");
  EXPECT_EQ(judged_text("<|channel>thought\nIt is"), "<|channel>thought\nIt is");
  EXPECT_EQ(judged_text("red <channel|>"), "red <channel|>");
  EXPECT_EQ(judged_text(" \n"), "");
}

TEST(AnswerCheck, ExactText) {
  const json check = {{"kind", "exact"}, {"text", "red"}};
  EXPECT_TRUE(judge(check, "red\n").right);
  EXPECT_FALSE(judge(check, "Red").right);
  EXPECT_FALSE(judge(check, "").right);
}

TEST(AnswerCheck, JsonFollowsItsSchema) {
  const json schema = json::parse(R"({"type": "object", "required": ["n", "tags"], "properties": {
    "n": {"type": "integer"}, "on": {"type": "boolean"},
    "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}}})");
  const json check = {{"kind", "json"}, {"schema", schema}, {"value", {{"n", 3}, {"tags", {"a"}}}}};
  const auto verdict = [&](const char* text) { return judge(check, text); };
  EXPECT_TRUE(verdict(R"({"n": 3, "tags": ["a"]})").right);
  EXPECT_TRUE(verdict(R"({"tags": ["a"], "n": 3})").valid);
  EXPECT_FALSE(verdict(R"({"n": 4, "tags": ["a"]})").right);
  EXPECT_TRUE(verdict(R"({"n": 4, "tags": [], "on": true})").valid);
  for (const char* wrong :
       {R"({"n": 3})", R"({"n": true, "tags": []})", R"({"n": 3.5, "tags": []})",
        R"({"n": 3, "tags": ["c"]})", R"({"n": 3, "tags": "a"})", R"({"n": 3, "tags": [], "m": 1})",
        R"({"n": 3, "tags": ["a"])", "", "[]"}) {
    EXPECT_FALSE(verdict(wrong).valid) << wrong;
    EXPECT_FALSE(verdict(wrong).right) << wrong;
  }
}

}  // namespace
}  // namespace kimberlite::testing
