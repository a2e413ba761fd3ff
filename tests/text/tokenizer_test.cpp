// The tokenizer on a small vocabulary: the rules one by one, hostile text, broken vocabularies.
#include "text/tokenizer.hpp"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "text/tiny_vocabulary.hpp"

namespace kimberlite::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

class TokenizerTest : public ::testing::Test {
 protected:
  Ids encode(std::string_view text, EncodeOptions options = {}) const {
    return tokenizer_.encode(text, options).value();
  }
  Ids pieces(std::initializer_list<const char*> names) const {
    Ids ids;
    for (const char* name : names) ids.push_back(tokenizer_.find_piece(name).value());
    return ids;
  }

  Tokenizer tokenizer_ = Tokenizer::make(testing::tiny_vocabulary()).value();
};

TEST_F(TokenizerTest, LowestRankFirst) {
  EXPECT_EQ(encode("abc"), pieces({"abc"}));  // b+c before a+b, then a+bc
  EXPECT_EQ(encode("ab"), pieces({"ab"}));
  EXPECT_EQ(encode("abcab"), pieces({"abc", "ab"}));
}

TEST_F(TokenizerTest, TiesGoLeft) {
  EXPECT_EQ(encode("aaa"), pieces({"aa", "a"}));
  EXPECT_EQ(encode("aaaaa"), pieces({"aaaa", "a"}));
  EXPECT_EQ(encode("aaaaaaa"), pieces({"aaaa", "aa", "a"}));
}

TEST_F(TokenizerTest, SpacesBecomeTheirPiece) {
  EXPECT_EQ(encode(" a"), pieces({"▁a"}));
  EXPECT_EQ(encode("  a"), pieces({"▁▁", "a"}));
  EXPECT_EQ(tokenizer_.decode(pieces({"▁a"})[0]), " a");
}

TEST_F(TokenizerTest, NewlineRunsAreWhole) {
  EXPECT_EQ(encode("\n\n\n"), pieces({"\n\n\n"}));
  EXPECT_EQ(encode("a\n\nb"), pieces({"a", "\n\n", "b"}));
  EXPECT_EQ(encode("\n\n\n\n"), pieces({"\n\n\n", "\n"}));  // no entry: by ranks
}

TEST_F(TokenizerTest, UnknownCharactersBecomeBytes) {
  EXPECT_EQ(encode("z"), pieces({"<0x7A>"}));
  EXPECT_EQ(encode("a€"), pieces({"a", "<0xE2>", "<0x82>", "<0xAC>"}));
}

TEST_F(TokenizerTest, BrokenUtf8BecomesBytes) {
  EXPECT_EQ(encode("\xFF"
                   "a"),
            pieces({"<0xFF>", "a"}));
  EXPECT_EQ(encode("é\xC3"), pieces({"é", "<0xC3>"}));          // cut off
  EXPECT_EQ(encode("\xC1\xA1"), pieces({"<0xC1>", "<0xA1>"}));  // an overlong 'a'
  EXPECT_EQ(encode(std::string(1, '\0')), pieces({"<0x00>"}));
}

TEST_F(TokenizerTest, EveryByteComesBack) {
  std::string all;
  for (int high = 0; high < 256; ++high) {
    for (int low = 0; low < 256; ++low) {
      all.push_back(static_cast<char>(high));
      all.push_back(static_cast<char>(low));
    }
  }
  EXPECT_EQ(tokenizer_.decode(encode(all)).value(), all);
}

TEST_F(TokenizerTest, PlainTextNeverGivesSpecialTokens) {
  for (int32_t id = 0; id < tokenizer_.n_tokens(); ++id) {
    if (!tokenizer_.is_special(id)) continue;
    const std::string name(tokenizer_.piece(id));
    for (const int32_t part : encode(name)) EXPECT_FALSE(tokenizer_.is_special(part)) << name;
    EXPECT_EQ(tokenizer_.decode(encode(name)).value(), name);
  }
  EXPECT_EQ(encode("<0x41>").size(), 6u);  // these six characters, not the byte
}

TEST_F(TokenizerTest, TrustedTextGivesThemByLongestMatch) {
  const EncodeOptions trusted{.parse_special = true};
  EXPECT_EQ(encode("a<turn|>\n<|turn>b", trusted), pieces({"a", "<turn|>", "\n", "<|turn>", "b"}));
  Vocabulary vocabulary = testing::tiny_vocabulary();
  testing::add_token(vocabulary, "<turn|><turn|>", TokenType::control);
  const Tokenizer longer = Tokenizer::make(vocabulary).value();
  EXPECT_THAT(*longer.encode("<turn|><turn|><turn|>", trusted),
              ElementsAre(longer.n_tokens() - 1, 5));
}

TEST_F(TokenizerTest, BosComesOnce) {
  EXPECT_EQ(encode("a", {.add_bos = true}), pieces({"<bos>", "a"}));
  EXPECT_EQ(encode("", {.add_bos = true}), pieces({"<bos>"}));
  EXPECT_EQ(encode("<bos>a", {.parse_special = true, .add_bos = true}), pieces({"<bos>", "a"}));
  Vocabulary vocabulary = testing::tiny_vocabulary();
  vocabulary.bos_id = kNoToken;
  const auto ids = Tokenizer::make(vocabulary)->encode("a", {.add_bos = true});
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.error().code, ErrorCode::unsupported);
}

TEST_F(TokenizerTest, FirstOfEqualPiecesIsEncodedAllDecode) {
  Vocabulary vocabulary = testing::tiny_vocabulary();
  testing::add_token(vocabulary, "ab", TokenType::normal);
  const Tokenizer twice = Tokenizer::make(vocabulary).value();
  EXPECT_EQ(*twice.encode("ab", {}), encode("ab"));
  EXPECT_EQ(twice.decode(twice.n_tokens() - 1), "ab");
}

// A merge may lead over a piece that is no token itself; left over, it falls back to bytes.
TEST_F(TokenizerTest, MergesThroughPiecesOutsideTheVocabulary) {
  Vocabulary vocabulary = testing::tiny_vocabulary();
  testing::add_token(vocabulary, "cccb", TokenType::normal);
  testing::add_merge(vocabulary, "c", "c");
  testing::add_merge(vocabulary, "cc", "c");
  testing::add_merge(vocabulary, "ccc", "b");
  const Tokenizer tokenizer = Tokenizer::make(vocabulary).value();
  EXPECT_THAT(*tokenizer.encode("cccb", {}), ElementsAre(tokenizer.n_tokens() - 1));
  EXPECT_THAT(*tokenizer.encode("cc", {}), ElementsAre(10 + 'c', 10 + 'c'));
  EXPECT_FALSE(tokenizer.find_piece("cc"));
}

TEST_F(TokenizerTest, MergesNeverMakeControlTokens) {
  Vocabulary vocabulary = testing::tiny_vocabulary();
  testing::add_token(vocabulary, "ca", TokenType::control);
  testing::add_merge(vocabulary, "c", "a");
  EXPECT_EQ(*Tokenizer::make(vocabulary)->encode("ca", {}), pieces({"c", "a"}));
}

TEST_F(TokenizerTest, EndIds) {
  EXPECT_THAT(tokenizer_.end_ids(), ElementsAre(1, 5, 6));
  EXPECT_TRUE(tokenizer_.is_end(5));
  EXPECT_FALSE(tokenizer_.is_end(4));
}

TEST_F(TokenizerTest, IdsOutsideTheVocabulary) {
  EXPECT_EQ(tokenizer_.decode(-1), "");
  EXPECT_EQ(tokenizer_.decode(tokenizer_.n_tokens()), "");
  const auto text = tokenizer_.decode(Ids{2, 100000});
  ASSERT_FALSE(text.ok());
  EXPECT_THAT(text.error().message, HasSubstr("100000"));
}

TEST(TokenizerErrors, NameTheTokenAndBothValues) {
  const auto message = [](const Vocabulary& vocabulary) {
    const auto tokenizer = Tokenizer::make(vocabulary);
    return tokenizer.ok() ? std::string("no error") : tokenizer.error().message;
  };
  Vocabulary v = testing::tiny_vocabulary();
  v.types.pop_back();
  EXPECT_THAT(message(v), HasSubstr("285 tokens, but 284 token types"));
  v = testing::tiny_vocabulary();
  v.types[7] = 9;
  EXPECT_THAT(message(v), HasSubstr("token 7 has the type 9, expected 0 to 6"));
  v = testing::tiny_vocabulary();
  v.tokens[20] = "<0xZZ>";
  EXPECT_THAT(message(v), HasSubstr("token 20 is a byte token, but its piece is \"<0xZZ>\""));
  v = testing::tiny_vocabulary();
  v.bos_id = 285;
  EXPECT_THAT(message(v), HasSubstr("bos id is 285, but there are 285 tokens"));
  v = testing::tiny_vocabulary();
  v.types[10 + 0x41] = static_cast<int32_t>(TokenType::unused);
  EXPECT_EQ(message(v), "no error");  // the unknown token stands in
  v.unknown_id = kNoToken;
  EXPECT_THAT(message(v), HasSubstr("no token for the byte 65"));
  v = testing::tiny_vocabulary();
  v.merges[0].n_left_bytes = 99;
  EXPECT_THAT(message(v), HasSubstr("a merge of 3 bytes is cut after byte 99"));
  EXPECT_THAT(message(Vocabulary{}), HasSubstr("no token for the byte 0"));
}

}  // namespace
}  // namespace kimberlite::text
