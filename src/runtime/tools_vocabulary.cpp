// kimberlite/tools.hpp: a tokenizer alone.
#include "formats/gguf.hpp"
#include "kimberlite/tools.hpp"
#include "text/tokenizer.hpp"

namespace kimberlite {

struct Vocabulary::State {
  text::Tokenizer tokenizer;
};

Vocabulary::Vocabulary(std::unique_ptr<State> state) : state_(std::move(state)) {}
Vocabulary::~Vocabulary() = default;

Result<std::unique_ptr<Vocabulary>> Vocabulary::open(const std::string& path) {
  KL_ASSIGN(const formats::GgufFile file, formats::GgufFile::open(path));
  if (!file.has("tokenizer.ggml.model")) {
    return Error{ErrorCode::unsupported, path + ": has no vocabulary (no tokenizer.ggml.model)"};
  }
  KL_ASSIGN(const text::Vocabulary vocabulary, text::read_vocabulary(file));
  KL_ASSIGN(text::Tokenizer tokenizer, text::Tokenizer::make(vocabulary));
  return std::unique_ptr<Vocabulary>(
      new Vocabulary(std::make_unique<State>(State{std::move(tokenizer)})));
}

Result<std::vector<int32_t>> Vocabulary::encode(std::string_view text, bool add_bos,
                                                bool parse_special) const {
  return state_->tokenizer.encode(text, {.parse_special = parse_special, .add_bos = add_bos});
}

std::string Vocabulary::decode(std::span<const int32_t> tokens) const {
  std::string bytes;
  for (const int32_t token : tokens) bytes += state_->tokenizer.decode(token);
  return bytes;
}

std::string Vocabulary::piece(int32_t token) const {
  if (!state_->tokenizer.is_token(token)) return {};
  return std::string(state_->tokenizer.piece(token));
}

uint32_t Vocabulary::size() const { return static_cast<uint32_t>(state_->tokenizer.n_tokens()); }

}  // namespace kimberlite
