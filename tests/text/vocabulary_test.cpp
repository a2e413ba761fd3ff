// Reading a vocabulary from a GGUF file: what arrives, and what wrong files are told.
#include "text/vocabulary.hpp"

#include <gmock/gmock.h>

#include <functional>
#include <string>
#include <vector>

#include "formats/gguf.hpp"
#include "formats/gguf_writer.hpp"
#include "text/gemma_vocabulary.hpp"

namespace kimberlite::text {
namespace {

using formats::GgufWriter;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

GgufWriter good_file() {
  GgufWriter file;
  const std::vector<std::string_view> tokens = {"<eos>", "<bos>", "a", " ", "aa", " a"};
  const std::vector<int32_t> types = {3, 3, 1, 1, 1, 1};
  const std::vector<std::string_view> merges = {"a a", "  a"};
  file.set_string("tokenizer.ggml.model", "gemma4");
  file.set_array("tokenizer.ggml.tokens", tokens);
  file.set_array("tokenizer.ggml.token_type", types);
  file.set_array("tokenizer.ggml.merges", merges);
  file.set_u32("tokenizer.ggml.bos_token_id", 1);
  file.set_u32("tokenizer.ggml.eos_token_id", 0);
  return file;
}

Result<Vocabulary> read(const GgufWriter& writer) {
  std::vector<std::byte> bytes;
  const auto sink = [&](std::span<const std::byte> part) -> Status {
    bytes.insert(bytes.end(), part.begin(), part.end());
    return {};
  };
  const auto no_tensors = [](size_t, const formats::ByteSink&) -> Status { return {}; };
  KL_TRY(writer.write_to(sink, no_tensors));
  KL_ASSIGN(const auto file, formats::GgufFile::parse(bytes));
  return read_vocabulary(file);
}

TEST(ReadVocabulary, TakesWhatTheFileSays) {
  GgufWriter file = good_file();
  const std::vector<int32_t> suppressed = {2, 4};
  file.set_array("tokenizer.ggml.suppress_tokens", suppressed);
  file.set_string("tokenizer.chat_template", "{{ bos_token }}");
  const Vocabulary vocabulary = read(file).value();
  EXPECT_THAT(vocabulary.tokens, ElementsAre("<eos>", "<bos>", "a", " ", "aa", " a"));
  EXPECT_THAT(vocabulary.types, ElementsAre(3, 3, 1, 1, 1, 1));
  ASSERT_EQ(vocabulary.merges.size(), 2u);
  EXPECT_EQ(vocabulary.merges[0].left(), "a");
  EXPECT_EQ(vocabulary.merges[0].right(), "a");
  EXPECT_EQ(vocabulary.merges[1].left(), " ");  // a left piece may be a space itself
  EXPECT_EQ(vocabulary.merges[1].right(), "a");
  EXPECT_EQ(vocabulary.bos_id, 1);
  EXPECT_EQ(vocabulary.eos_id, 0);
  EXPECT_EQ(vocabulary.unknown_id, kNoToken);
  EXPECT_EQ(vocabulary.padding_id, kNoToken);
  EXPECT_THAT(vocabulary.suppressed_ids, ElementsAre(2, 4));
  EXPECT_EQ(vocabulary.chat_template, "{{ bos_token }}");
}

TEST(ReadVocabulary, ErrorsNameTheKeyAndBothValues) {
  struct Case {
    std::function<void(GgufWriter&)> spoil;
    ErrorCode code;
    std::vector<const char*> says;
  };
  const std::vector<int32_t> two_types = {3, 3}, far = {0, 6}, negative = {-1};
  const std::vector<std::string_view> one_piece = {"a a", "aa"}, empty = {""};
  const Case cases[] = {
      {[](auto& f) { f.set_string("tokenizer.ggml.model", "llama"); },
       ErrorCode::unsupported,
       {"tokenizer.ggml.model", "\"llama\"", "\"gemma4\""}},
      {[&](auto& f) { f.set_array("tokenizer.ggml.token_type", two_types); },
       ErrorCode::bad_file,
       {"tokenizer.ggml.token_type", "2 entries", "expected 6"}},
      {[&](auto& f) { f.set_array("tokenizer.ggml.merges", one_piece); },
       ErrorCode::bad_file,
       {"tokenizer.ggml.merges", "entry 1"}},
      {[&](auto& f) { f.set_array("tokenizer.ggml.merges", empty); },
       ErrorCode::bad_file,
       {"tokenizer.ggml.merges", "entry 0"}},
      {[](auto& f) { f.set_u32("tokenizer.ggml.bos_token_id", 6); },
       ErrorCode::bad_file,
       {"tokenizer.ggml.bos_token_id", "is 6", "6 tokens"}},
      {[&](auto& f) { f.set_array("tokenizer.ggml.suppress_tokens", far); },
       ErrorCode::bad_file,
       {"tokenizer.ggml.suppress_tokens", "token 6", "are 6"}},
      {[&](auto& f) { f.set_array("tokenizer.ggml.suppress_tokens", negative); },
       ErrorCode::bad_file,
       {"tokenizer.ggml.suppress_tokens", "token -1"}},
      {[](auto& f) { f.set_string("tokenizer.ggml.tokens", "a"); },
       ErrorCode::bad_file,
       {"tokenizer.ggml.tokens"}},
  };
  for (const Case& wrong : cases) {
    GgufWriter file = good_file();
    wrong.spoil(file);
    const auto vocabulary = read(file);
    ASSERT_FALSE(vocabulary.ok()) << wrong.says[0];
    EXPECT_EQ(vocabulary.error().code, wrong.code) << vocabulary.error().message;
    for (const char* part : wrong.says) {
      EXPECT_THAT(vocabulary.error().message, HasSubstr(part));
    }
  }
}

TEST(ReadVocabulary, TheRealOne) {
  KL_NEED_GEMMA_VOCABULARY();
  const Vocabulary& vocabulary = *testing::gemma_vocabulary().vocabulary;
  EXPECT_EQ(vocabulary.tokens.size(), 262144u);
  EXPECT_EQ(vocabulary.merges.size(), 514906u);
  EXPECT_EQ(vocabulary.bos_id, 2);
  EXPECT_EQ(vocabulary.eos_id, 1);
  EXPECT_EQ(vocabulary.unknown_id, 3);
  EXPECT_EQ(vocabulary.padding_id, 0);
  EXPECT_THAT(vocabulary.chat_template, HasSubstr("<|turn>"));
}

}  // namespace
}  // namespace kimberlite::text
