// Fills the ids in this order: control tokens, newline runs, bytes, then single characters and
// pieces built by merges, shortest first.
#include "synthetic/tokenizer.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <unordered_set>

#include "base/result.hpp"

namespace kimberlite::synthetic {
namespace {

enum TokenType : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kByte = 6 };

struct Special {
  uint32_t id;
  std::string_view piece;
  TokenType type;
};
constexpr std::array kSpecials{
    Special{0, "<pad>", kControl},
    Special{1, "<eos>", kControl},
    Special{2, "<bos>", kControl},
    Special{3, "<unk>", kControl},
    Special{4, "<mask>", kControl},
    Special{46, "<|tool>", kControl},
    Special{47, "<tool|>", kControl},
    Special{48, "<|tool_call>", kUserDefined},
    Special{49, "<tool_call|>", kUserDefined},
    Special{50, "<|tool_response>", kUserDefined},
    Special{51, "<tool_response|>", kUserDefined},
    Special{52, "<|\"|>", kUserDefined},
    Special{98, "<|think|>", kControl},
    Special{100, "<|channel>", kUserDefined},
    Special{101, "<channel|>", kUserDefined},
    Special{105, "<|turn>", kControl},
    Special{106, "<turn|>", kControl},
    Special{107, "\n", kNormal},
    Special{108, "\n\n", kNormal},
    Special{109, "\n\n\n", kNormal},
    Special{255999, "<|image>", kControl},
    Special{256000, "<|audio>", kControl},
    Special{258880, "<|image|>", kControl},
    Special{258881, "<|audio|>", kControl},
    Special{258882, "<image|>", kControl},
    Special{258883, "<audio|>", kControl},
    Special{258884, "<|video|>", kControl},
};

constexpr uint32_t kFirstByteToken = 238;
constexpr std::string_view kSpace = "\u2581";  // stands for a space inside pieces
constexpr size_t kMaxMerges = 4096;            // of a full vocabulary; a tiny one has fewer

/// Frequent English pieces, so that text in a tiny vocabulary is more than single letters.
constexpr std::array<std::array<std::string_view, 2>, 32> kFirstMerges{{
    {kSpace, "t"},   {"h", "e"},  {"i", "n"},      {kSpace, "a"},  {"e", "r"},  {"o", "n"},
    {"r", "e"},      {"a", "n"},  {kSpace, "s"},   {"a", "t"},     {"e", "n"},  {"o", "r"},
    {kSpace, "w"},   {"e", "s"},  {kSpace, "c"},   {"i", "s"},     {"i", "t"},  {kSpace, "o"},
    {"o", "u"},      {"a", "l"},  {"in", "g"},     {"e", "d"},     {"l", "l"},  {"a", "r"},
    {"t", "he"},     {"an", "d"}, {kSpace, "the"}, {kSpace, "in"}, {"i", "on"}, {"s", "t"},
    {kSpace, "and"}, {"t", "o"},
}};

/// Hands out pieces for the free ids, each once.
class PieceSource {
 public:
  explicit PieceSource(Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    for (const std::string& piece : tokenizer.pieces) taken_.insert(piece);
  }

  /// Puts `left + right` at the next free id; false when no id is left.
  bool add(std::string_view left, std::string_view right) {
    std::string piece = std::string(left) + std::string(right);
    if (!taken_.insert(piece).second) return has_room();
    while (has_room() && !tokenizer_.pieces[next_].empty()) ++next_;
    if (!has_room()) return false;
    tokenizer_.pieces[next_] = std::move(piece);
    if (!left.empty() && tokenizer_.merges.size() < kMaxMerges) {
      tokenizer_.merges.push_back(fmt::format("{} {}", left, right));
    }
    return true;
  }

 private:
  [[nodiscard]] bool has_room() const { return next_ < tokenizer_.pieces.size(); }

  Tokenizer& tokenizer_;  // Borrowed from make_tokenizer.
  std::unordered_set<std::string> taken_;
  size_t next_ = 0;
};

/// Number `index` of the words of `length` letters: "aaa", "aab", ...
std::string word_of(uint32_t index, uint32_t length) {
  std::string word(length, 'a');
  for (uint32_t i = length; i-- > 0; index /= 26) {
    word[i] = static_cast<char>('a' + index % 26);
  }
  return word;
}

/// Every word, plain and after a space, each made of the word one letter shorter.
void add_words(PieceSource& source) {
  uint32_t n_words = 26;
  for (uint32_t length = 1; length <= 4; ++length, n_words *= 26) {
    for (uint32_t index = 0; index < n_words; ++index) {
      const std::string word = word_of(index, length);
      const std::string left = word.substr(0, length - 1);
      const std::string_view last = std::string_view(word).substr(length - 1);
      if (!source.add(left, last)) return;
      if (!source.add(std::string(kSpace) + left, last)) return;
    }
  }
}

}  // namespace

Tokenizer make_tokenizer(uint32_t vocab) {
  KL_CHECK(vocab >= kMinVocab, "a vocabulary without room for the byte tokens");
  Tokenizer tokenizer{std::vector<std::string>(vocab), std::vector<int32_t>(vocab, kNormal), {}};
  for (const Special& special : kSpecials) {
    if (special.id >= vocab) continue;
    tokenizer.pieces[special.id] = special.piece;
    tokenizer.types[special.id] = special.type;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    tokenizer.pieces[kFirstByteToken + byte] = fmt::format("<0x{:02X}>", byte);
    tokenizer.types[kFirstByteToken + byte] = kByte;
  }
  PieceSource source(tokenizer);
  source.add({}, kSpace);
  for (char c = '!'; c <= '~'; ++c) source.add({}, std::string_view(&c, 1));
  for (const auto& [left, right] : kFirstMerges) source.add(left, right);
  add_words(source);
  return tokenizer;
}

}  // namespace kimberlite::synthetic
