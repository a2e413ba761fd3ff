// UTF-8 scanning by the table of well-formed byte sequences (Unicode 15, table 3-7).
#include "text/utf8.hpp"

#include <cstdint>

namespace kimberlite::text {
namespace {

struct Lead {
  size_t n_bytes;  // 0: no character starts with this byte
  uint8_t second_min, second_max;
};

Lead classify(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};  // continuation bytes and overlong two-byte forms
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};  // below A0: overlong
  if (byte == 0xED) return {3, 0x80, 0x9F};  // above 9F: surrogates
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};  // below 90: overlong
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};  // above 8F: beyond U+10FFFF
  return {0, 0, 0};
}

// The set of Python's str.isspace().
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

}  // namespace

Utf8Step scan_utf8(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  const Lead lead = classify(first);
  if (lead.n_bytes == 0) return {Utf8State::invalid, 1, 0};
  if (lead.n_bytes == 1) return {Utf8State::valid, 1, first};
  char32_t code_point = first & (0x7Fu >> lead.n_bytes);
  for (size_t i = 1; i < lead.n_bytes; ++i) {
    if (i == text.size()) return {Utf8State::incomplete, i, 0};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t min = i == 1 ? lead.second_min : uint8_t{0x80};
    const uint8_t max = i == 1 ? lead.second_max : uint8_t{0xBF};
    if (byte < min || byte > max) return {Utf8State::invalid, i, 0};
    code_point = (code_point << 6) | (byte & 0x3Fu);
  }
  return {Utf8State::valid, lead.n_bytes, code_point};
}

std::string_view trim(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = scan_utf8(text);
    if (step.state != Utf8State::valid || !is_space(step.code_point)) break;
    text.remove_prefix(step.n_bytes);
  }
  while (!text.empty()) {
    size_t n_tail = 1;  // white space takes at most 3 bytes
    while (n_tail < 3 && n_tail < text.size() &&
           (static_cast<uint8_t>(text[text.size() - n_tail]) & 0xC0) == 0x80) {
      ++n_tail;
    }
    const Utf8Step step = scan_utf8(text.substr(text.size() - n_tail));
    if (step.state != Utf8State::valid || step.n_bytes != n_tail || !is_space(step.code_point)) {
      break;
    }
    text.remove_suffix(n_tail);
  }
  return text;
}

}  // namespace kimberlite::text
