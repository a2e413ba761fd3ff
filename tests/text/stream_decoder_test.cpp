// The stream decoder: characters split over tokens, broken bytes, control tokens.
#include "text/stream_decoder.hpp"

#include <gtest/gtest.h>

#include <string>

#include "text/tiny_vocabulary.hpp"
#include "text/utf8.hpp"

namespace kimberlite::text {
namespace {

class StreamDecoderTest : public ::testing::Test {
 protected:
  std::string push(const char* piece) {
    return decoder_.push(tokenizer_.find_piece(piece).value());
  }

  Tokenizer tokenizer_ = Tokenizer::make(testing::tiny_vocabulary()).value();
  StreamDecoder decoder_{tokenizer_};
};

TEST_F(StreamDecoderTest, HoldsBackHalfACharacter) {
  EXPECT_EQ(push("a"), "a");
  EXPECT_EQ(push("<0xF0>"), "");
  EXPECT_EQ(push("<0x9F>"), "");
  EXPECT_EQ(push("<0x98>"), "");
  EXPECT_EQ(decoder_.pending().size(), 3u);
  EXPECT_EQ(push("<0x80>"), "😀");
  EXPECT_EQ(push("▁a"), " a");
  EXPECT_EQ(decoder_.flush(), "");
}

TEST_F(StreamDecoderTest, BrokenBytesBecomeReplacementCharacters) {
  EXPECT_EQ(push("<0xFF>"), "\uFFFD");
  EXPECT_EQ(push("<0xE2>"), "");
  EXPECT_EQ(push("a"), "\uFFFDa");
  EXPECT_EQ(push("<0xE2>"), "");
  EXPECT_EQ(push("<0x96>"), "");
  EXPECT_EQ(push("<0xC3>"), "\uFFFD");  // the first two are one, the third may yet become whole
  EXPECT_EQ(push("<0xA9>"), "é");
}

TEST_F(StreamDecoderTest, FlushGivesTheRestAndStartsAnew) {
  EXPECT_EQ(push("<0xF0>"), "");
  EXPECT_EQ(push("<0x9F>"), "");
  EXPECT_EQ(decoder_.flush(), "\uFFFD");
  EXPECT_EQ(decoder_.flush(), "");
  EXPECT_EQ(push("a"), "a");
}

TEST_F(StreamDecoderTest, ControlTokensGiveNoTextButEndACharacter) {
  EXPECT_EQ(push("<turn|>"), "");
  EXPECT_EQ(push("<0xC3>"), "");
  EXPECT_EQ(push("<turn|>"), "\uFFFD");
  EXPECT_EQ(push("<|channel>"), "<|channel>");
  EXPECT_EQ(decoder_.push(-1), "");
  EXPECT_EQ(decoder_.push(tokenizer_.n_tokens()), "");
}

TEST(Utf8, ScansOneCharacter) {
  EXPECT_EQ(scan_utf8("a").code_point, U'a');
  EXPECT_EQ(scan_utf8("é").code_point, U'é');
  EXPECT_EQ(scan_utf8("▁x").code_point, U'▁');
  EXPECT_EQ(scan_utf8("\xF4\x8F\xBF\xBF").code_point, U'\U0010FFFF');
  EXPECT_EQ(scan_utf8("\xE2\x96").state, Utf8State::incomplete);
  for (const char* broken : {"\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                             "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_EQ(scan_utf8(broken).state, Utf8State::invalid) << broken;
    EXPECT_EQ(scan_utf8(broken).n_bytes, 1u) << broken;
  }
  EXPECT_EQ(scan_utf8("\xF0\x9F\x98z").n_bytes, 3u);
}

TEST(Utf8, TrimsWhatPythonTrims) {
  EXPECT_EQ(trim(" \t\r\n\v\f\x1C\u00A0\u2003\u3000 a b \u2029\u0085\n"), "a b");
  EXPECT_EQ(trim("\u200Ba\uFEFF"), "\u200Ba\uFEFF");  // zero width is not white space
  EXPECT_EQ(trim("\u3000\u3000"), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim(" \xA0 "), "\xA0");  // a lone byte, not U+00A0
}

}  // namespace
}  // namespace kimberlite::text
