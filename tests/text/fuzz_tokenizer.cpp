// libFuzzer: any bytes, encoded and decoded, come back the same, and the stream decoder shows them
// as valid UTF-8. The vocabulary is built in, so that no file is needed.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "text/stream_decoder.hpp"
#include "text/tiny_vocabulary.hpp"
#include "text/utf8.hpp"

namespace kimberlite::text {
namespace {

// What decoding gives back: a U+2581 returns as the space that it stands for.
std::string with_spaces(std::string_view text) {
  constexpr std::string_view kSpacePiece = "\xE2\x96\x81";
  std::string result(text);
  for (size_t at = result.find(kSpacePiece); at != std::string::npos;
       at = result.find(kSpacePiece, at)) {
    result.replace(at, kSpacePiece.size(), " ");
  }
  return result;
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = scan_utf8(text);
    if (step.state != Utf8State::valid) return false;
    text.remove_prefix(step.n_bytes);
  }
  return true;
}

void check(const Tokenizer& tokenizer, std::string_view text, bool trusted) {
  const auto ids = tokenizer.encode(text, {.parse_special = trusted});
  KL_CHECK(ids.ok(), "encode failed");
  const auto bytes = tokenizer.decode(*ids);
  KL_CHECK(bytes.ok() && *bytes == with_spaces(text), "other bytes came back");
  StreamDecoder stream(tokenizer);
  std::string shown;
  for (const int32_t id : *ids) {
    KL_CHECK(trusted || !tokenizer.is_special(id), "plain text gave a special token");
    shown += stream.push(id);
    KL_CHECK(is_valid_utf8(shown), "the stream decoder gave half a character");
  }
  shown += stream.flush();
  KL_CHECK(is_valid_utf8(shown), "the stream decoder ended in half a character");
  if (!trusted && is_valid_utf8(*bytes)) KL_CHECK(shown == *bytes, "the stream lost text");
}

}  // namespace
}  // namespace kimberlite::text

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t n_bytes) {
  using namespace kimberlite::text;
  static const Tokenizer tokenizer = Tokenizer::make(testing::tiny_vocabulary()).value();
  const std::string_view text(reinterpret_cast<const char*>(data), n_bytes);
  check(tokenizer, text, false);
  check(tokenizer, text, true);
  return 0;
}
