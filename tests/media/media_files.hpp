// The files of tests/golden/media and what the official implementation makes of them.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "media/image.hpp"
#include "support/golden.hpp"

namespace kimberlite::media {

using Bytes = std::vector<std::byte>;

inline Bytes to_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline Bytes read_media(std::string_view name) {
  std::ifstream file(std::string(KIMBERLITE_SOURCE_DIR "/tests/golden/media/").append(name),
                     std::ios::binary);
  EXPECT_TRUE(file) << name;
  return to_bytes(std::string(std::istreambuf_iterator<char>(file), {}));
}

/// Read once; the test fails where it cannot be.
inline const testing::Golden& media_golden() {
  static const Result<testing::Golden> golden = testing::Golden::load("media");
  KL_CHECK(golden.ok(), "tests/golden/media.json");
  return *golden;
}

/// Names of the files whose ending is one of these, among those that have an expected picture.
inline std::vector<std::string> media_names(const std::vector<std::string_view>& endings) {
  std::vector<std::string> names;
  for (const auto& [name, array] : media_golden().arrays) {
    for (const std::string_view ending : endings) {
      const bool is_file = name.find('.') == name.rfind('.') && name.ends_with(ending);
      if (is_file) names.push_back(name);
    }
  }
  return names;
}

inline bool reads(std::span<const std::byte> bytes) {
  const auto type = find_image_type(bytes, "test");
  return type.ok() && reads_image_type(*type);
}

}  // namespace kimberlite::media
