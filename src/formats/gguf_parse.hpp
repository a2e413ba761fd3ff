// The parser behind GgufFile: one file's bytes to a table of values and tensors, every number
// checked. Knows no paths, no split files and no meaning of keys but general.alignment.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"
#include "formats/ggml_type.hpp"
#include "formats/gguf_types.hpp"

namespace kimberlite::formats {

/// A metadata value, still in the file. `data` is the scalar, the text of a string, or an array's
/// elements (of strings: each with its 8-byte length in front).
struct GgufValue {
  GgufType type;
  GgufType element;  // of an array; otherwise the same as `type`
  uint64_t count;    // elements of an array; otherwise 1
  std::span<const std::byte> data;
  uint64_t offset;  // of `data` in the file
};

struct GgufEntry {
  std::string_view key;
  GgufValue value;
};

/// A tensor of the file. All views are borrowed from the file's bytes.
struct TensorInfo {
  std::string_view name;
  GgmlType type;
  uint32_t n_dims;
  std::array<uint64_t, 4> ne;  // input-first: ne[0] is contiguous; missing dimensions are 1
  std::span<const std::byte> data;
  uint64_t offset;  // of `data` in its file
  uint32_t shard;   // 0 unless the model is split

  [[nodiscard]] uint64_t n_elements() const { return ne[0] * ne[1] * ne[2] * ne[3]; }
  [[nodiscard]] uint64_t n_rows() const { return ne[1] * ne[2] * ne[3]; }
};

struct ParsedGguf {
  uint32_t version = 0;
  uint64_t alignment = kGgufDefaultAlignment;
  uint64_t data_start = 0;
  std::vector<GgufEntry> entries;  // in file order
  std::unordered_map<std::string_view, size_t> entry_index;
  std::vector<TensorInfo> tensors;  // in file order
  std::unordered_map<std::string_view, size_t> tensor_index;
};

/// `origin` names the file in messages. Views point into `bytes`.
Result<ParsedGguf> parse_gguf(std::span<const std::byte> bytes, const std::string& origin);

/// Text from a file for a message: control characters and bytes above 0x7e become \xHH, long text
/// is cut, so that a hostile name cannot reach the terminal as it is.
std::string printable(std::string_view text);

}  // namespace kimberlite::formats
