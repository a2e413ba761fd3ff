// All keys and tensors of a GGUF file as text, so that a test lists what it expects and misses
// nothing that is there besides.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "formats/gguf.hpp"

namespace kimberlite::formats {

using Shown = std::map<std::string, std::string>;

inline std::string shown_scalar(GgufType type, const std::byte* data) {
  const auto as = [data](auto value) {
    std::memcpy(&value, data, sizeof(value));
    return value;
  };
  switch (type) {
    case GgufType::u32:
      return fmt::format("{}", as(uint32_t{}));
    case GgufType::i32:
      return fmt::format("{}", as(int32_t{}));
    case GgufType::f32:
      return fmt::format("{}", as(float{}));
    case GgufType::boolean:
      return as(uint8_t{}) != 0 ? "true" : "false";
    default:
      return "?";
  }
}

/// "u32 5", "string clip", "bool[2] true false"; of string arrays the length alone.
inline std::string shown_value(const GgufValue& value) {
  const std::string_view element = gguf_type_name(value.element);
  if (value.type == GgufType::string) {
    return fmt::format(
        "string {}",
        std::string_view(reinterpret_cast<const char*>(value.data.data()), value.data.size()));
  }
  if (value.type != GgufType::array) {
    return fmt::format("{} {}", element, shown_scalar(value.type, value.data.data()));
  }
  std::string text = fmt::format("{}[{}]", element, value.count);
  for (uint64_t i = 0; i < value.count && value.element != GgufType::string; ++i) {
    const std::byte* data = value.data.data() + i * scalar_bytes(value.element);
    text += fmt::format(" {}", shown_scalar(value.element, data));
  }
  return text;
}

/// Keys that start with one of `prefixes`, or all without any.
inline Shown shown_keys(const GgufFile& file, const std::vector<std::string>& prefixes = {""}) {
  Shown shown;
  for (const GgufEntry& entry : file.entries()) {
    for (const std::string& prefix : prefixes) {
      if (entry.key.starts_with(prefix)) shown[std::string(entry.key)] = shown_value(entry.value);
    }
  }
  return shown;
}

/// "f32 [108, 32]", input first.
inline Shown shown_tensors(const GgufFile& file) {
  Shown shown;
  for (const TensorInfo& tensor : file.tensors()) {
    const std::vector<uint64_t> ne(tensor.ne.begin(), tensor.ne.begin() + tensor.n_dims);
    shown[std::string(tensor.name)] =
        fmt::format("{} [{}]", traits(tensor.type).name, fmt::join(ne, ", "));
  }
  return shown;
}

}  // namespace kimberlite::formats
