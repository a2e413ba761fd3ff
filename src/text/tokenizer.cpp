// The tokenizer's own steps: building the indices, cutting text into runs, falling back to bytes.
#include "text/tokenizer.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/numeric.hpp"
#include "text/utf8.hpp"

namespace kimberlite::text {
namespace {

constexpr std::string_view kSpacePiece = "\xE2\x96\x81";  // U+2581, stands for a space in pieces
constexpr uint64_t kMaxTextBytes = kGiB;                  // symbols are linked by 32-bit indices
constexpr std::string_view kEndPieces[] = {"<eos>", "<turn|>", "<|tool_response>"};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The byte that a piece such as <0x0A> stands for.
std::optional<uint8_t> byte_of(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  const int high = hex_digit(piece[3]);
  const int low = hex_digit(piece[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

Error bad_vocabulary(std::string what) {
  return {ErrorCode::bad_file, "vocabulary: " + std::move(what)};
}

// An id from the file must name a token or be absent.
Status check_id(std::string_view name, int32_t id, size_t n_tokens) {
  if (id == kNoToken || (id >= 0 && static_cast<size_t>(id) < n_tokens)) return {};
  return bad_vocabulary(std::string(name) + " is " + std::to_string(id) + ", but there are " +
                        std::to_string(n_tokens) + " tokens");
}

void add_unique(std::vector<int32_t>& ids, int32_t id) {
  if (id != kNoToken && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

}  // namespace

Result<Tokenizer> Tokenizer::make(const Vocabulary& vocabulary) {
  Tokenizer tokenizer;
  KL_TRY(tokenizer.add_tokens(vocabulary));
  KL_TRY(tokenizer.add_roles(vocabulary));
  tokenizer.add_merges(vocabulary);
  return tokenizer;
}

Status Tokenizer::add_tokens(const Vocabulary& vocabulary) {
  const size_t n_tokens = vocabulary.tokens.size();
  if (n_tokens != vocabulary.types.size()) {
    return bad_vocabulary(std::to_string(n_tokens) + " tokens, but " +
                          std::to_string(vocabulary.types.size()) + " token types");
  }
  // Merges may add up to three pieces each; all of them must fit 31-bit ids and 32-bit ranks.
  if (n_tokens + 3 * vocabulary.merges.size() > INT32_MAX) {
    return bad_vocabulary(std::to_string(n_tokens) + " tokens and " +
                          std::to_string(vocabulary.merges.size()) + " merges are too many");
  }
  for (const MergeRule& rule : vocabulary.merges) {
    if (rule.n_left_bytes > rule.joined.size()) {
      return bad_vocabulary("a merge of " + std::to_string(rule.joined.size()) +
                            " bytes is cut after byte " + std::to_string(rule.n_left_bytes));
    }
  }
  size_t n_bytes = 0;
  for (const std::string& token : vocabulary.tokens) n_bytes += token.size();
  pieces_.reserve(n_tokens, n_bytes);
  types_.reserve(n_tokens);
  for (size_t i = 0; i < n_tokens; ++i) {
    const int32_t type = vocabulary.types[i];
    if (type < 0 || type > static_cast<int32_t>(TokenType::byte)) {
      return bad_vocabulary("token " + std::to_string(i) + " has the type " + std::to_string(type) +
                            ", expected 0 to 6");
    }
    types_.push_back(static_cast<TokenType>(type));
    if (types_.back() == TokenType::byte && !byte_of(vocabulary.tokens[i])) {
      return bad_vocabulary("token " + std::to_string(i) + " is a byte token, but its piece is \"" +
                            vocabulary.tokens[i] + "\", expected <0x00> to <0xFF>");
    }
    pieces_.add(vocabulary.tokens[i]);
  }
  return {};
}

Status Tokenizer::add_roles(const Vocabulary& vocabulary) {
  KL_TRY(check_id("bos id", vocabulary.bos_id, types_.size()));
  KL_TRY(check_id("eos id", vocabulary.eos_id, types_.size()));
  KL_TRY(check_id("unknown id", vocabulary.unknown_id, types_.size()));
  byte_ids_.fill(kNoToken);
  for (int32_t id = 0; id < n_tokens(); ++id) {
    const std::string_view name = piece(id);
    if (type(id) == TokenType::byte) {
      int32_t& byte_id = byte_ids_[*byte_of(name)];
      if (byte_id == kNoToken) byte_id = id;
    } else if (is_special(id) && !name.empty()) {
      special_bytes_[static_cast<uint8_t>(name[0])].push_back(static_cast<uint32_t>(name.size()));
    }
  }
  for (std::vector<uint32_t>& lengths : special_bytes_) {
    std::sort(lengths.begin(), lengths.end(), std::greater<>());
    lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  }
  for (size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    if (byte_ids_[byte] == kNoToken) byte_ids_[byte] = vocabulary.unknown_id;
    if (byte_ids_[byte] == kNoToken) {
      return bad_vocabulary("no token for the byte " + std::to_string(byte) +
                            " and no unknown token in its place");
    }
  }
  bos_id_ = vocabulary.bos_id;
  add_unique(end_ids_, vocabulary.eos_id);
  for (const std::string_view end : kEndPieces) {
    add_unique(end_ids_, find_special(end).value_or(kNoToken));
  }
  return {};
}

void Tokenizer::add_merges(const Vocabulary& vocabulary) {
  constexpr size_t kBlock = 64;
  merges_.reserve(vocabulary.merges.size());
  std::vector<std::string_view> names;  // left, right, joined of each merge of a block
  std::array<int32_t, 3 * kBlock> ids;
  const std::span<const MergeRule> rules = vocabulary.merges;
  for (size_t begin = 0; begin < rules.size(); begin += kBlock) {
    const auto block = rules.subspan(begin, std::min(kBlock, rules.size() - begin));
    names.clear();
    for (const MergeRule& rule : block) {
      names.insert(names.end(), {rule.left(), rule.right(), rule.joined});
    }
    pieces_.find_all(names, ids);
    for (size_t i = 0; i < names.size(); ++i) {
      if (ids[i] == kNoToken) ids[i] = pieces_.intern(names[i]);
    }
    for (size_t i = 0; i < block.size(); ++i) merges_.prefetch(ids[3 * i], ids[3 * i + 1]);
    for (size_t i = 0; i < block.size(); ++i) {
      // Two ordinary pieces may never become a control token: that would let any text forge it.
      if (!is_symbol(ids[3 * i + 2])) continue;
      merges_.add(ids[3 * i], ids[3 * i + 1], static_cast<uint32_t>(begin + i), ids[3 * i + 2]);
    }
  }
  for (size_t c = 0; c < ascii_ids_.size(); ++c) {
    const char character = static_cast<char>(c);
    ascii_ids_[c] = find_symbol(c == ' ' ? kSpacePiece : std::string_view(&character, 1));
  }
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text,
                                               const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    return Error{ErrorCode::invalid_argument,
                 "tokenizer: the text has " + std::to_string(text.size()) +
                     " bytes, the limit is " + std::to_string(kMaxTextBytes)};
  }
  std::vector<int32_t> ids;
  if (options.add_bos) {
    if (bos_id_ == kNoToken) {
      return Error{ErrorCode::unsupported, "tokenizer: the vocabulary has no <bos> token"};
    }
    const bool doubled = options.parse_special && text.starts_with(piece(bos_id_));
    if (!doubled) ids.push_back(bos_id_);
  }
  ids.reserve(ids.size() + text.size() / 4);
  Scratch scratch;
  size_t begin = 0;
  for (size_t i = 0; options.parse_special && i < text.size();) {
    const int32_t id = find_special_at(text.substr(i));
    if (id == kNoToken) {
      ++i;
      continue;
    }
    append_plain(text.substr(begin, i - begin), scratch, ids);
    ids.push_back(id);
    i += piece(id).size();
    begin = i;
  }
  append_plain(text.substr(begin), scratch, ids);
  return ids;
}

// The longest control or user-defined token at the front of `text`.
int32_t Tokenizer::find_special_at(std::string_view text) const {
  for (const uint32_t n_bytes : special_bytes_[static_cast<uint8_t>(text[0])]) {
    if (n_bytes > text.size()) continue;
    const auto id = find_special(text.substr(0, n_bytes));
    if (id) return *id;
  }
  return kNoToken;
}

// What plain text may become: no control token, and no <0xHH>, which stands for a byte and not for
// these six characters.
bool Tokenizer::is_symbol(int32_t id) const {
  if (!is_token(id)) return id != kNoToken;
  return type(id) != TokenType::control && type(id) != TokenType::byte;
}

int32_t Tokenizer::find_symbol(std::string_view piece) const {
  const int32_t id = pieces_.find(piece);
  return is_symbol(id) ? id : kNoToken;
}

// Newlines merge with nothing but newlines, so runs of them and of everything else are separate.
void Tokenizer::append_plain(std::string_view text, Scratch& scratch,
                             std::vector<int32_t>& ids) const {
  while (!text.empty()) {
    const bool newlines = text[0] == '\n';
    const size_t end = newlines ? text.find_first_not_of('\n') : text.find('\n');
    const std::string_view run = text.substr(0, end);
    const int32_t whole = newlines ? find_symbol(run) : kNoToken;
    if (is_token(whole)) {
      ids.push_back(whole);
    } else {
      append_run(run, scratch, ids);
    }
    text.remove_prefix(run.size());
  }
}

void Tokenizer::append_run(std::string_view run, Scratch& scratch,
                           std::vector<int32_t>& ids) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  for (size_t i = 0; i < run.size();) {
    int32_t id = kNoToken;
    size_t n_bytes = 1;  // broken UTF-8: every byte by itself, covered by no piece
    const Utf8Step step = scan_utf8(run.substr(i));
    if (step.state == Utf8State::valid) {
      n_bytes = step.n_bytes;
      id = n_bytes == 1 ? ascii_ids_[step.code_point] : find_symbol(run.substr(i, n_bytes));
    }
    symbols.push_back({id, static_cast<uint32_t>(i), -1, -1, kNoRank, -1});
    i += n_bytes;
  }
  merge_symbols(merges_, symbols, scratch.queue);
  for (int32_t i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    const Symbol& symbol = symbols[static_cast<size_t>(i)];
    if (is_token(symbol.id)) {
      ids.push_back(symbol.id);
      continue;
    }
    const size_t end =
        symbol.next >= 0 ? symbols[static_cast<size_t>(symbol.next)].begin : run.size();
    for (const char byte : run.substr(symbol.begin, end - symbol.begin)) {
      ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
    }
  }
}

std::string Tokenizer::decode(int32_t id) const {
  std::string bytes;
  if (is_token(id)) append_decoded(id, bytes);
  return bytes;
}

Result<std::string> Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!is_token(id)) {
      return Error{ErrorCode::invalid_argument, "tokenizer: token id " + std::to_string(id) +
                                                    ", but the vocabulary has " +
                                                    std::to_string(n_tokens()) + " tokens"};
    }
    append_decoded(id, bytes);
  }
  return bytes;
}

void Tokenizer::append_decoded(int32_t id, std::string& bytes) const {
  std::string_view rest = piece(id);
  if (type(id) == TokenType::byte) {
    bytes.push_back(static_cast<char>(*byte_of(rest)));
    return;
  }
  if (is_special(id)) {
    bytes.append(rest);
    return;
  }
  for (size_t at = rest.find(kSpacePiece); at != std::string_view::npos;
       at = rest.find(kSpacePiece)) {
    bytes.append(rest.substr(0, at)).push_back(' ');
    rest.remove_prefix(at + kSpacePiece.size());
  }
  bytes.append(rest);
}

std::optional<int32_t> Tokenizer::find_piece(std::string_view piece) const {
  const int32_t id = pieces_.find(piece);
  return is_token(id) ? std::optional<int32_t>(id) : std::nullopt;
}

std::optional<int32_t> Tokenizer::find_special(std::string_view piece) const {
  const auto id = find_piece(piece);
  return id && is_special(*id) ? id : std::nullopt;
}

bool Tokenizer::is_token(int32_t id) const { return id >= 0 && id < n_tokens(); }

bool Tokenizer::is_special(int32_t id) const {
  return type(id) == TokenType::control || type(id) == TokenType::user_defined;
}

bool Tokenizer::is_end(int32_t id) const {
  return std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end();
}

}  // namespace kimberlite::text
