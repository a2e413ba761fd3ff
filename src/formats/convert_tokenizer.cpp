// A Hugging Face BPE vocabulary as GGUF lists: piece, score and kind per id, merges in rank order.
#include "formats/convert_tokenizer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <unordered_map>

#include "base/mapped_file.hpp"
#include "base/numeric.hpp"
#include "base/utf8_path.hpp"
#include "formats/gguf_parse.hpp"
#include "formats/json_reader.hpp"

namespace kimberlite::formats {
namespace {

constexpr uint64_t kMaxTokenizerBytes = 256 * kMiB;  // Gemma 4's has some 32 MiB
constexpr uint64_t kMaxSmallFileBytes = 16 * kMiB;

// tokenizer.ggml.token_type
enum TokenKind : int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

// Control tokens that chat output needs to show are stored as user-defined.
constexpr std::string_view kVisible[] = {"<|channel>",   "<channel|>",       "<|tool_call>",
                                         "<tool_call|>", "<|tool_response>", "<tool_response|>",
                                         "<|\"|>"};

std::string in_folder(const std::string& dir, std::string_view name) {
  return to_utf8(utf8_path(dir) / name);
}

bool file_exists(const std::string& path) {
  std::error_code ignored;  // what cannot be asked about cannot be read
  return std::filesystem::is_regular_file(utf8_path(path), ignored);
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); }

bool is_byte_piece(std::string_view piece) {
  return piece.size() == 6 && piece.starts_with("<0x") && is_hex(piece[3]) && is_hex(piece[4]) &&
         piece[5] == '>';
}

struct Vocabulary {
  std::vector<std::string> pieces;
  std::vector<int32_t> kinds;  // 0 where no token has claimed the id
  std::unordered_map<std::string, uint32_t> ids;

  [[nodiscard]] std::optional<uint64_t> find(const std::string& piece) const {
    const auto found = ids.find(piece);
    return found == ids.end() ? std::nullopt : std::optional<uint64_t>(found->second);
  }
};

Status add_vocab(const JsonObject& vocab, Vocabulary& out) {
  for (const auto& [piece, id] : vocab.json().items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= out.pieces.size()) {
      return vocab.error(piece, fmt::format("expected a token id below vocab_size {}, found {}",
                                            out.pieces.size(), shown(id)));
    }
    const auto index = id.get<uint32_t>();
    if (out.kinds[index] != 0) {
      return vocab.error(piece,
                         fmt::format("id {} is already {}", index, printable(out.pieces[index])));
    }
    out.pieces[index] = piece;
    out.kinds[index] = is_byte_piece(piece) ? kByte : piece == "<unk>" ? kUnknown : kNormal;
    out.ids.emplace(piece, index);
  }
  return {};
}

Status add_added_tokens(const JsonObject& tokenizer, Vocabulary& out) {
  const Json* list = tokenizer.find("added_tokens");
  if (list == nullptr) return {};
  if (!list->is_array()) return tokenizer.error("added_tokens", "expected an array");
  for (const Json& entry : *list) {
    if (!entry.is_object()) return tokenizer.error("added_tokens", "expected objects");
    const JsonObject token(entry, tokenizer.origin() + ": added_tokens");
    KL_ASSIGN(const auto id, token.u64("id", 0, out.pieces.size() - 1));
    KL_ASSIGN(const auto piece, token.str("content"));
    KL_ASSIGN(const auto special, token.boolean_or("special", false));
    if (out.kinds[id] != 0 && out.pieces[id] != piece) {
      return token.error("id", fmt::format("{} is both {} and {}", id, printable(out.pieces[id]),
                                           printable(piece)));
    }
    const bool visible = !special || std::ranges::find(kVisible, piece) != std::end(kVisible);
    out.pieces[id] = piece;
    out.kinds[id] = piece == "<unk>" ? kUnknown : visible ? kUserDefined : kControl;
    out.ids.emplace(piece, static_cast<uint32_t>(id));
  }
  return {};
}

// "left right" or ["left", "right"]; a piece never holds a space, except at the very front of the
// older string form.
Result<std::vector<std::string>> read_merges(const JsonObject& model) {
  const Json* list = model.find("merges");
  if (list == nullptr || !list->is_array()) return model.error("merges", "expected an array");
  std::vector<std::string> merges;
  for (const Json& merge : *list) {
    if (merge.is_string()) {
      merges.push_back(merge.get_ref<const std::string&>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      merges.push_back(merge[0].get_ref<const std::string&>() + " " +
                       merge[1].get_ref<const std::string&>());
    } else {
      return model.error("merges", fmt::format("entry {} is neither a string nor a pair of strings",
                                               merges.size()));
    }
    const size_t space = merges.back().find(' ', 1);
    if (space == std::string::npos || space + 1 == merges.back().size()) {
      return model.error("merges", fmt::format("entry {} ({}) has no two sides", merges.size() - 1,
                                               printable(merges.back())));
    }
  }
  return merges;
}

Result<std::optional<std::string>> read_chat_template(const std::string& dir) {
  const std::string jinja = in_folder(dir, "chat_template.jinja");
  if (file_exists(jinja)) {
    KL_ASSIGN(const auto file, MappedFile::open(jinja));
    if (file.bytes().size() > kMaxSmallFileBytes) {
      return Error{ErrorCode::bad_file, fmt::format("{}: {} bytes, allowed are {}", jinja,
                                                    file.bytes().size(), kMaxSmallFileBytes)};
    }
    return std::optional<std::string>(
        std::in_place, reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  }
  const std::string path = in_folder(dir, "tokenizer_config.json");
  if (!file_exists(path)) return std::optional<std::string>();
  KL_ASSIGN(const auto json, read_json_object(path, kMaxSmallFileBytes));
  const JsonObject config(json, path);
  if (!config.has("chat_template")) return std::optional<std::string>();
  KL_ASSIGN(auto text, config.str("chat_template"));
  return std::optional(std::move(text));
}

// The config's ids win over the pieces' names.
void write_special_ids(const Vocabulary& vocab, const HfTextConfig& config, GgufWriter& writer) {
  const auto set = [&](std::string_view key, std::optional<uint64_t> id, const char* piece) {
    if (!id) id = vocab.find(piece);
    if (id)
      writer.set_u32(fmt::format("tokenizer.ggml.{}_token_id", key), static_cast<uint32_t>(*id));
  };
  set("bos", config.bos_id, "<bos>");
  set("eos", config.eos_id, "<eos>");
  set("unknown", std::nullopt, "<unk>");
  set("padding", config.pad_id, "<pad>");
  set("mask", std::nullopt, "<mask>");
}

}  // namespace

Status write_hf_tokenizer(const std::string& dir, const HfTextConfig& config, GgufWriter& writer,
                          std::vector<std::string>& notes) {
  const std::string path = in_folder(dir, "tokenizer.json");
  if (!file_exists(path)) {
    notes.push_back(
        "There is no tokenizer.json: the output has no vocabulary and works on token "
        "ids only.");
    return {};
  }
  KL_ASSIGN(const auto json, read_json_object(path, kMaxTokenizerBytes));
  const JsonObject tokenizer(json, path);
  KL_ASSIGN(const auto model, tokenizer.object("model"));
  KL_ASSIGN(const auto type, model.str_or("type", "BPE"));
  if (type != "BPE") {
    return model.error("type", fmt::format("expected BPE, found {}", printable(type)));
  }
  Vocabulary vocab;
  vocab.pieces.resize(config.n_vocab);
  vocab.kinds.resize(config.n_vocab);
  KL_ASSIGN(const auto entries, model.object("vocab"));
  KL_TRY(add_vocab(entries, vocab));
  KL_TRY(add_added_tokens(tokenizer, vocab));
  KL_ASSIGN(const auto merges, read_merges(model));
  uint64_t n_unused = 0;
  for (size_t id = 0; id < vocab.pieces.size(); ++id) {
    if (vocab.kinds[id] != 0) continue;
    vocab.pieces[id] = fmt::format("[PAD{}]", id);
    vocab.kinds[id] = kUnused;
    ++n_unused;
  }
  if (n_unused != 0) {
    notes.push_back(
        fmt::format("{} of {} token ids have no piece in tokenizer.json; they are "
                    "marked unused.",
                    n_unused, config.n_vocab));
  }
  const std::vector<float> scores(vocab.pieces.size(), 0.0f);  // BPE does not read them
  writer.set_string("tokenizer.ggml.model", "gemma4");
  writer.set_array("tokenizer.ggml.tokens", std::span<const std::string>(vocab.pieces));
  writer.set_array("tokenizer.ggml.scores", std::span<const float>(scores));
  writer.set_array("tokenizer.ggml.token_type", std::span<const int32_t>(vocab.kinds));
  writer.set_array("tokenizer.ggml.merges", std::span<const std::string>(merges));
  write_special_ids(vocab, config, writer);
  writer.set_bool("tokenizer.ggml.add_bos_token", true);
  writer.set_bool("tokenizer.ggml.add_space_prefix", false);
  KL_ASSIGN(const auto chat_template, read_chat_template(dir));
  if (chat_template) writer.set_string("tokenizer.chat_template", *chat_template);
  return {};
}

Status write_hf_generation(const std::string& dir, const HfTextConfig& config, GgufWriter& writer) {
  const std::string path = in_folder(dir, "generation_config.json");
  if (!file_exists(path)) return {};
  KL_ASSIGN(const auto json, read_json_object(path, kMaxSmallFileBytes));
  const JsonObject generation(json, path);
  if (generation.has("top_k")) {
    KL_ASSIGN(const auto top_k, generation.u64("top_k", 0, INT32_MAX));
    writer.set_i32("general.sampling.top_k", static_cast<int32_t>(top_k));
  }
  for (const auto& [key, name] : {std::pair("top_p", "top_p"), std::pair("temperature", "temp")}) {
    if (!generation.has(key)) continue;
    KL_ASSIGN(const auto value, generation.number_or(key, 0.0));
    writer.set_f32(fmt::format("general.sampling.{}", name), static_cast<float>(value));
  }
  const Json* suppressed = generation.find("suppress_tokens");
  if (suppressed == nullptr) return {};
  std::vector<int32_t> ids;
  if (!suppressed->is_array()) return generation.error("suppress_tokens", "expected an array");
  for (const Json& id : *suppressed) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= config.n_vocab) {
      return generation.error(
          "suppress_tokens",
          fmt::format("expected token ids below {}, found {}", config.n_vocab, shown(id)));
    }
    ids.push_back(id.get<int32_t>());
  }
  if (!ids.empty()) {
    writer.set_array("tokenizer.ggml.suppress_tokens", std::span<const int32_t>(ids));
  }
  return {};
}

}  // namespace kimberlite::formats
