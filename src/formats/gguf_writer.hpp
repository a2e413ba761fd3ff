// Writes GGUF version 3 files: metadata first, then tensors streamed in the order of declaration,
// so that a file larger than memory can be written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "formats/ggml_type.hpp"
#include "formats/gguf_parse.hpp"

namespace kimberlite::formats {

/// Takes the next bytes of a tensor, any number at a time. Its error must be returned onwards.
using ByteSink = std::function<Status(std::span<const std::byte>)>;

/// Called once per tensor, in order: pushes exactly the bytes of tensor `index` into `sink`.
using TensorSource = std::function<Status(size_t index, const ByteSink& sink)>;

/// (bytes of tensor data written, bytes of tensor data in all). Returning false cancels the write.
using WriteProgress = std::function<bool(uint64_t, uint64_t)>;

/// Refuses `path` (UTF-8), invalid_argument, where a file is there that must not be replaced, or
/// something that is no file.
Status check_output(const std::string& path, bool overwrite);

/// Setting a key twice replaces its value. Not thread-safe.
class GgufWriter {
 public:
  /// `alignment`: a power of two, at least 8. Anything but GGUF's default of 32 is recorded as
  /// general.alignment.
  explicit GgufWriter(uint32_t alignment = 32);

  void set_u16(std::string_view key, uint16_t value);
  void set_u32(std::string_view key, uint32_t value);
  void set_i32(std::string_view key, int32_t value);
  void set_u64(std::string_view key, uint64_t value);
  void set_f32(std::string_view key, float value);
  void set_bool(std::string_view key, bool value);
  void set_string(std::string_view key, std::string_view value);
  void set_array(std::string_view key, std::span<const uint32_t> values);
  void set_array(std::string_view key, std::span<const int32_t> values);
  void set_array(std::string_view key, std::span<const float> values);
  void set_array(std::string_view key, const std::vector<bool>& values);
  void set_array(std::string_view key, std::span<const std::string> values);
  void set_array(std::string_view key, std::span<const std::string_view> values);

  /// A value as a file has it, of any type.
  void set_value(std::string_view key, const GgufValue& value);

  /// Declares the next tensor; `ne` is input-first (ne[0] contiguous), 1 to 4 dimensions.
  /// Errors: invalid_argument for a name over 63 bytes or used before, and for a row that is not
  /// a whole number of blocks.
  Status add_tensor(std::string_view name, GgmlType type, std::span<const uint64_t> ne);

  [[nodiscard]] size_t n_tensors() const { return tensors_.size(); }
  /// Bytes that `source` must push for tensor `index`.
  [[nodiscard]] uint64_t tensor_bytes(size_t index) const { return tensors_[index].n_bytes; }

  /// Writes `path` (UTF-8) by way of `path.partial`: on any failure neither a half `path` nor a
  /// partial file is left, and an existing `path` is untouched. Errors: io, cancelled, those of
  /// `source`, invalid_argument where a tensor got more or fewer bytes than it declared.
  Status write(const std::string& path, const TensorSource& source,
               const WriteProgress& progress = {}) const;

  /// The same, but tensors that `source` pushes nothing of are holes: zeros that take no room on
  /// disk where the file system knows how. For models that are planned and recorded, never run.
  Status write_hollow(const std::string& path, const TensorSource& source) const;

  /// The same bytes into any sink, with no file involved.
  Status write_to(const ByteSink& sink, const TensorSource& source,
                  const WriteProgress& progress = {}) const;

 private:
  struct Tensor {
    std::string name;
    GgmlType type;
    std::vector<uint64_t> ne;
    uint64_t offset;   // from the start of the data section
    uint64_t n_bytes;  // without padding
  };

  std::string& value(std::string_view key, uint32_t type);
  [[nodiscard]] std::string header() const;
  /// `fill` writes the open file of the first name, which then takes the place of `path`.
  static Status replace(const std::string& path,
                        const std::function<Status(const std::string&, std::ofstream&)>& fill);

  uint32_t alignment_;
  std::vector<std::string> keys_;              // in the order they were set
  std::map<std::string, std::string> values_;  // encoded: type id and value
  std::vector<Tensor> tensors_;
  std::map<std::string, size_t, std::less<>> tensor_index_;
  uint64_t data_bytes_ = 0;  // with padding after every tensor
};

}  // namespace kimberlite::formats
