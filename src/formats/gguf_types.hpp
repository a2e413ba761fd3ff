// What the GGUF reader and writer share: value type ids and the limits of the container.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "base/numeric.hpp"

namespace kimberlite::formats {

static_assert(std::endian::native == std::endian::little,
              "GGUF and safetensors values are copied as they lie in the file");

enum class GgufType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

/// Bytes of one value; 0 for string and array, whose size varies, and for ids that are no type.
constexpr uint32_t scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    default:
      return 0;
  }
}

constexpr std::string_view gguf_type_name(GgufType type) {
  constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
  const auto id = static_cast<uint32_t>(type);
  return id < std::size(kNames) ? kNames[id] : std::string_view("no type");
}

inline constexpr char kGgufMagic[4] = {'G', 'G', 'U', 'F'};
inline constexpr uint32_t kGgufVersion = 3;
inline constexpr uint32_t kGgufDefaultAlignment = 32;

// Limits of this reader. Real files have some 50 keys, 700 tensors and an alignment of 32; a file
// beyond these asks for work out of all proportion.
inline constexpr uint64_t kMaxKeys = 65536;
inline constexpr uint64_t kMaxTensors = 65536;
inline constexpr uint64_t kMaxKeyBytes = 65535;
inline constexpr uint64_t kMaxTensorNameBytes = 63;
inline constexpr uint64_t kMaxStringBytes = kGiB;
inline constexpr uint64_t kMaxArrayCount = uint64_t{1} << 30;
inline constexpr uint32_t kMaxDims = 4;
inline constexpr uint64_t kMinAlignment = 8;
inline constexpr uint64_t kMaxAlignment = 2 * kMiB;

}  // namespace kimberlite::formats
