// The stream decoder: what is whole goes out, the beginning of a character stays.
#include "text/stream_decoder.hpp"

#include <utility>

#include "text/utf8.hpp"

namespace kimberlite::text {

std::string StreamDecoder::push(int32_t id) {
  if (tokenizer_->is_token(id) && tokenizer_->type(id) == TokenType::control) return flush();
  pending_ += tokenizer_->decode(id);
  std::string text;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = scan_utf8(rest);
    if (step.state == Utf8State::incomplete) break;
    text += step.state == Utf8State::valid ? rest.substr(0, step.n_bytes) : kReplacementCharacter;
    rest.remove_prefix(step.n_bytes);
  }
  pending_ = std::string(rest);
  return text;
}

std::string StreamDecoder::flush() {
  const bool open = !std::exchange(pending_, {}).empty();
  return open ? std::string(kReplacementCharacter) : std::string();
}

}  // namespace kimberlite::text
