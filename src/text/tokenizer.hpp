// Gemma 4's tokenizer: text to token ids by ranked byte-pair merges, and back.
//
// The text between control tokens is one unit: spaces become U+2581, newline runs that are
// vocabulary entries are emitted whole, everything else starts as single characters and merges by
// rank. What no piece covers falls back to the byte tokens <0x00>..<0xFF>; so do the bytes of
// broken UTF-8, each by itself. Decoding gives back the same bytes, except that a U+2581 in the
// text comes back as a space, as in every implementation of this tokenizer.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "text/bpe.hpp"
#include "text/piece_table.hpp"
#include "text/vocabulary.hpp"

namespace kimberlite::text {

struct EncodeOptions {
  /// Cut control and user-defined tokens out of the text (longest match). Only for text that we
  /// wrote ourselves: with it, whoever wrote the text can end a turn or forge a tool call.
  bool parse_special = false;
  /// Put <bos> first, unless parse_special finds it there already.
  bool add_bos = false;
};

/// Immutable; every const function may be called from any thread.
class Tokenizer {
 public:
  /// Copies what it needs of `vocabulary`. Errors: bad_file, naming the token or merge.
  static Result<Tokenizer> make(const Vocabulary& vocabulary);

  /// Any bytes are fine; n log n in the length of the text. Errors: invalid_argument above 1 GiB,
  /// unsupported where add_bos meets a vocabulary without one.
  Result<std::vector<int32_t>> encode(std::string_view text, const EncodeOptions& options) const;

  /// The bytes of one token; the last bytes may be the beginning of a character. Control tokens
  /// give their name. Empty for ids outside the vocabulary.
  [[nodiscard]] std::string decode(int32_t id) const;

  /// The bytes of all tokens. Errors: invalid_argument for an id outside the vocabulary.
  Result<std::string> decode(std::span<const int32_t> ids) const;

  /// The first id whose piece is exactly `piece`.
  [[nodiscard]] std::optional<int32_t> find_piece(std::string_view piece) const;
  /// The same, but only if it is a control or user-defined token.
  [[nodiscard]] std::optional<int32_t> find_special(std::string_view piece) const;

  /// The piece as the file spells it (with U+2581 for a space). `id` in [0, n_tokens()). The view
  /// lives as long as the tokenizer.
  [[nodiscard]] std::string_view piece(int32_t id) const { return pieces_[id]; }
  [[nodiscard]] TokenType type(int32_t id) const { return types_[static_cast<size_t>(id)]; }
  /// Control or user-defined. `id` in [0, n_tokens()).
  [[nodiscard]] bool is_special(int32_t id) const;
  /// In [0, n_tokens()).
  [[nodiscard]] bool is_token(int32_t id) const;

  [[nodiscard]] int32_t n_tokens() const { return static_cast<int32_t>(types_.size()); }
  [[nodiscard]] int32_t bos_id() const { return bos_id_; }  // kNoToken where there is none
  /// Sampling one of these ends the generation: the file's eos, <eos>, <turn|>, <|tool_response>.
  [[nodiscard]] const std::vector<int32_t>& end_ids() const { return end_ids_; }
  [[nodiscard]] bool is_end(int32_t id) const;

 private:
  struct Scratch {
    std::vector<Symbol> symbols;
    MergeQueue queue;
  };

  Status add_tokens(const Vocabulary& vocabulary);
  Status add_roles(const Vocabulary& vocabulary);
  void add_merges(const Vocabulary& vocabulary);

  [[nodiscard]] int32_t find_special_at(std::string_view text) const;
  [[nodiscard]] bool is_symbol(int32_t id) const;
  [[nodiscard]] int32_t find_symbol(std::string_view piece) const;
  void append_plain(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const;
  void append_run(std::string_view run, Scratch& scratch, std::vector<int32_t>& ids) const;
  void append_decoded(int32_t id, std::string& bytes) const;

  // Ids from n_tokens() on are pieces that only merges know. They merge like all others and are
  // emitted as bytes where they are left over.
  PieceTable pieces_;
  std::vector<TokenType> types_;  // [n_tokens]
  MergeTable merges_;
  std::array<int32_t, 256> byte_ids_{};
  std::array<int32_t, 128> ascii_ids_{};  // piece of each one-byte character; kNoToken: none
  std::array<std::vector<uint32_t>, 256> special_bytes_;  // lengths by first byte, longest first
  int32_t bos_id_ = kNoToken;
  std::vector<int32_t> end_ids_;
};

}  // namespace kimberlite::text
