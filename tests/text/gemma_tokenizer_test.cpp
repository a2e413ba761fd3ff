// The tokenizer on the real Gemma 4 vocabulary: exact ids, and time that grows with n log n.
#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "text/gemma_vocabulary.hpp"
#include "text/tokenizer.hpp"

namespace kimberlite::text {
namespace {

using ::testing::ElementsAre;
using Ids = std::vector<int32_t>;

class GemmaTokenizer : public ::testing::Test {
 protected:
  void SetUp() override { KL_NEED_GEMMA_VOCABULARY(); }
  const Tokenizer& tokenizer() const { return *testing::gemma_vocabulary().tokenizer; }
  Ids encode(std::string_view text, EncodeOptions options = {}) const {
    return tokenizer().encode(text, options).value();
  }
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The strings are separated by a marker line; the ids of each are one line.
TEST_F(GemmaTokenizer, AgreesWithTheReferenceList) {
  const std::string texts = read_text(testing::kGemmaVocabularyPath + ".inp");
  const std::string lines = read_text(testing::kGemmaVocabularyPath + ".out");
  if (texts.empty()) GTEST_SKIP() << "not found: " << testing::kGemmaVocabularyPath << ".inp";
  if (lines.empty()) GTEST_SKIP() << "not found: " << testing::kGemmaVocabularyPath << ".out";
  constexpr std::string_view kMarker = "\n__ggml_vocab_test__\n";
  std::istringstream expected_lines(lines);
  std::string line;
  size_t n_texts = 0;
  for (size_t begin = 0; begin != std::string::npos; ++n_texts) {
    const size_t end = texts.find(kMarker, begin);
    const std::string text = texts.substr(begin, end == std::string::npos ? end : end - begin);
    ASSERT_TRUE(std::getline(expected_lines, line)) << "no ids for text " << n_texts;
    std::istringstream numbers(line);
    const Ids expected{std::istream_iterator<int32_t>(numbers), {}};
    EXPECT_EQ(encode(text), expected) << "text " << n_texts << ": " << text;
    EXPECT_EQ(tokenizer().decode(expected).value(), text);
    begin = end == std::string::npos ? end : end + kMarker.size();
  }
  EXPECT_EQ(n_texts, 46u);
  EXPECT_FALSE(std::getline(expected_lines, line)) << "ids without a text: " << line;
}

TEST_F(GemmaTokenizer, KnownIds) {
  EXPECT_THAT(encode("<bos>Hello,", {.parse_special = true}), ElementsAre(2, 9259, 236764));
  EXPECT_THAT(encode("Hello,", {.add_bos = true}), ElementsAre(2, 9259, 236764));
  EXPECT_THAT(encode("hi"), ElementsAre(2202));
  EXPECT_THAT(encode("hello world"), ElementsAre(23391, 1902));
  EXPECT_THAT(encode(" "), ElementsAre(236743));
  EXPECT_THAT(encode("thought\n"), ElementsAre(45518, 107));
  EXPECT_THAT(encode("user\n"), ElementsAre(2364, 107));
  EXPECT_THAT(encode("\xFF"), ElementsAre(238 + 0xFF));
}

TEST_F(GemmaTokenizer, ControlTokensByPiece) {
  const std::pair<const char*, int32_t> known[] = {{"<pad>", 0},
                                                   {"<eos>", 1},
                                                   {"<bos>", 2},
                                                   {"<|tool>", 46},
                                                   {"<tool|>", 47},
                                                   {"<|tool_call>", 48},
                                                   {"<tool_call|>", 49},
                                                   {"<|tool_response>", 50},
                                                   {"<tool_response|>", 51},
                                                   {"<|\"|>", 52},
                                                   {"<|think|>", 98},
                                                   {"<|channel>", 100},
                                                   {"<channel|>", 101},
                                                   {"<|turn>", 105},
                                                   {"<turn|>", 106},
                                                   {"<|image>", 255999},
                                                   {"<|audio>", 256000},
                                                   {"<|image|>", 258880},
                                                   {"<|audio|>", 258881},
                                                   {"<image|>", 258882},
                                                   {"<audio|>", 258883},
                                                   {"<|video|>", 258884}};
  for (const auto& [piece, id] : known) {
    EXPECT_EQ(tokenizer().find_special(piece), id) << piece;
    EXPECT_THAT(encode(piece, {.parse_special = true}), ElementsAre(id)) << piece;
  }
  EXPECT_EQ(tokenizer().find_piece("</s>"), 212);  // an ordinary token, not an end
  EXPECT_FALSE(tokenizer().find_special("</s>"));
  EXPECT_THAT(tokenizer().end_ids(), ElementsAre(1, 106, 50));
}

TEST_F(GemmaTokenizer, PlainTextNeverGivesSpecialTokens) {
  for (int32_t id = 0; id < tokenizer().n_tokens(); ++id) {
    if (!tokenizer().is_special(id)) continue;
    const std::string name(tokenizer().piece(id));
    const Ids parts = encode("x" + name + name + "\n");
    for (const int32_t part : parts) EXPECT_FALSE(tokenizer().is_special(part)) << name;
    EXPECT_EQ(tokenizer().decode(parts).value(), "x" + name + name + "\n");
  }
}

// Every text piece of the vocabulary survives the way there and back.
TEST_F(GemmaTokenizer, EveryPieceComesBack) {
  for (int32_t id = 0; id < tokenizer().n_tokens(); ++id) {
    if (tokenizer().is_special(id)) continue;
    const std::string text = tokenizer().decode(id);
    ASSERT_EQ(tokenizer().decode(encode(text)).value(), text) << "token " << id;
  }
}

// The limits are far above what is measured (0.2 to 0.5 s for 1 MB; a load takes 0.2 s) and far
// below what a quadratic merge loop or a slow table would take.
TEST_F(GemmaTokenizer, OneMegabyteWithoutABreak) {
  std::string noise;
  uint32_t state = 1;
  for (size_t i = 0; i < 1000000; ++i) {
    state = state * 1664525u + 1013904223u;
    noise.push_back(static_cast<char>('a' + (state >> 24) % 26));
  }
  const std::string texts[] = {noise, std::string(1000000, 'a'), std::string(1000000, '\n'),
                               std::string(1000000, '\xFF')};
  for (const std::string& text : texts) {
    const auto start = std::chrono::steady_clock::now();
    const Ids ids = encode(text);
    EXPECT_LT(seconds_since(start), 5.0) << "text of '" << text[0] << "'";
    EXPECT_EQ(tokenizer().decode(ids).value(), text);
  }
}

TEST_F(GemmaTokenizer, LoadsFast) {
  const auto start = std::chrono::steady_clock::now();
  const auto again = testing::load_gemma_vocabulary();
  EXPECT_LT(seconds_since(start), 2.0);
  ASSERT_NE(again.tokenizer, nullptr);
  EXPECT_EQ(again.tokenizer->n_tokens(), 262144);
}

}  // namespace
}  // namespace kimberlite::text
