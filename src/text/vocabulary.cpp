// tokenizer.ggml.* of a GGUF file as a Vocabulary.
#include "text/vocabulary.hpp"

#include <fmt/format.h>

#include <string_view>

#include "formats/gguf.hpp"

namespace kimberlite::text {
namespace {

constexpr std::string_view kModel = "gemma4";
constexpr uint32_t kAbsent = UINT32_MAX;

Result<int32_t> read_id(const formats::GgufFile& file, std::string_view key, size_t n_tokens) {
  KL_ASSIGN(const uint32_t id, file.u32_or(key, kAbsent));
  if (id == kAbsent) return kNoToken;
  if (id >= n_tokens) {
    return file.key_error(key, fmt::format("is {}, but there are {} tokens", id, n_tokens));
  }
  return static_cast<int32_t>(id);
}

// Each entry is "left right", split at the first space after its first byte: a left piece may be a
// space itself.
Status read_merges(const formats::GgufFile& file, Vocabulary& vocabulary) {
  constexpr std::string_view kKey = "tokenizer.ggml.merges";
  KL_ASSIGN(const std::vector<std::string_view> merges, file.str_array(kKey));
  vocabulary.merges.reserve(merges.size());
  for (const std::string_view merge : merges) {
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) {
      return file.key_error(kKey, fmt::format("entry {} is not two pieces and a space between them",
                                              vocabulary.merges.size()));
    }
    MergeRule& rule = vocabulary.merges.emplace_back();
    rule.joined.append(merge.substr(0, space)).append(merge.substr(space + 1));
    rule.n_left_bytes = space;
  }
  return {};
}

Status read_suppressed(const formats::GgufFile& file, Vocabulary& vocabulary) {
  constexpr std::string_view kKey = "tokenizer.ggml.suppress_tokens";
  if (!file.has(kKey)) return {};
  KL_ASSIGN(const auto ids, file.i32_array(kKey));
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= vocabulary.tokens.size()) {
      return file.key_error(
          kKey, fmt::format("names token {}, but there are {}", id, vocabulary.tokens.size()));
    }
  }
  vocabulary.suppressed_ids = ids.to_vector();
  return {};
}

}  // namespace

Result<Vocabulary> read_vocabulary(const formats::GgufFile& file) {
  constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";
  KL_ASSIGN(const std::string_view model, file.str("tokenizer.ggml.model"));
  if (model != kModel) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: tokenizer.ggml.model is \"{}\", expected \"{}\"", file.path(),
                             model, kModel)};
  }
  Vocabulary vocabulary;
  KL_ASSIGN(const std::vector<std::string_view> tokens, file.str_array("tokenizer.ggml.tokens"));
  vocabulary.tokens.assign(tokens.begin(), tokens.end());
  KL_ASSIGN(const auto types, file.i32_array(kTypesKey));
  if (types.size() != tokens.size()) {
    return file.key_error(kTypesKey, fmt::format("has {} entries, expected {}, one a token",
                                                 types.size(), tokens.size()));
  }
  vocabulary.types = types.to_vector();
  KL_TRY(read_merges(file, vocabulary));
  const size_t n_tokens = tokens.size();
  KL_ASSIGN(vocabulary.bos_id, read_id(file, "tokenizer.ggml.bos_token_id", n_tokens));
  KL_ASSIGN(vocabulary.eos_id, read_id(file, "tokenizer.ggml.eos_token_id", n_tokens));
  KL_ASSIGN(vocabulary.unknown_id, read_id(file, "tokenizer.ggml.unknown_token_id", n_tokens));
  KL_ASSIGN(vocabulary.padding_id, read_id(file, "tokenizer.ggml.padding_token_id", n_tokens));
  KL_TRY(read_suppressed(file, vocabulary));
  KL_ASSIGN(const std::string_view chat, file.str_or("tokenizer.chat_template", ""));
  vocabulary.chat_template = chat;
  return vocabulary;
}

}  // namespace kimberlite::text
