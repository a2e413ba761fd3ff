// Builds files byte by byte for tests, malformed ones included. Deliberately shares no code with
// the writers that it checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace kimberlite::formats {

class Bytes {
 public:
  Bytes& raw(std::string_view text) {
    data_ += text;
    return *this;
  }
  template <typename T>
  Bytes& number(T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    data_.append(bytes, sizeof(T));
    return *this;
  }
  Bytes& u8(uint8_t v) { return number(v); }
  Bytes& u16(uint16_t v) { return number(v); }
  Bytes& u32(uint32_t v) { return number(v); }
  Bytes& u64(uint64_t v) { return number(v); }
  Bytes& f32(float v) { return number(v); }
  Bytes& text(std::string_view s) { return u64(s.size()).raw(s); }
  Bytes& zeros(size_t n) { return raw(std::string(n, '\0')); }
  Bytes& pad(size_t alignment) {
    while (data_.size() % alignment != 0) data_ += '\0';
    return *this;
  }

  // GGUF pieces.
  Bytes& gguf_header(uint64_t n_tensors, uint64_t n_keys, uint32_t version = 3) {
    return raw("GGUF").u32(version).u64(n_tensors).u64(n_keys);
  }
  Bytes& key(std::string_view name, uint32_t type) { return text(name).u32(type); }
  Bytes& key_u32(std::string_view name, uint32_t v) { return key(name, 4).u32(v); }
  Bytes& key_u16(std::string_view name, uint16_t v) { return key(name, 2).u16(v); }
  Bytes& key_i32(std::string_view name, int32_t v) { return key(name, 5).number(v); }
  Bytes& tensor(std::string_view name, std::initializer_list<uint64_t> ne, uint32_t type,
                uint64_t offset) {
    text(name).u32(static_cast<uint32_t>(ne.size()));
    for (const uint64_t n : ne) u64(n);
    return u32(type).u64(offset);
  }

  [[nodiscard]] std::span<const std::byte> span() const { return std::as_bytes(std::span(data_)); }
  [[nodiscard]] const std::string& str() const { return data_; }

 private:
  std::string data_;
};

}  // namespace kimberlite::formats
