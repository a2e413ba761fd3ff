// Hugging Face safetensors: |n: u64|JSON header of n bytes|data|, one file or a sharded set with
// model.safetensors.index.json. The files are hostile until proven otherwise.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.hpp"
#include "base/result.hpp"
#include "formats/ggml_type.hpp"

namespace kimberlite::formats {

struct SafetensorsDtype {
  std::string_view name;  // as in the file: "BF16"
  uint32_t n_bytes;       // of one element
  /// The ggml type with the same bytes, where quant.hpp can read it.
  std::optional<GgmlType> ggml;
};

struct SafetensorsTensor {
  std::string name;
  const SafetensorsDtype* dtype;    // into a static table
  std::vector<uint64_t> shape;      // slowest axis first, as PyTorch has it; empty for a scalar
  std::span<const std::byte> data;  // Borrowed from the file; any alignment.
  uint64_t offset;                  // of `data` in its file
  size_t shard;

  [[nodiscard]] uint64_t n_elements() const { return data.size() / dtype->n_bytes; }
};

/// Move-only; views stay valid as long as the object they came from, or the one it was moved to.
/// Thread-safe for reading.
class Safetensors {
 public:
  /// `path` (UTF-8): a .safetensors file, a .index.json, or a folder that holds model.safetensors
  /// or model.safetensors.index.json.
  static Result<Safetensors> open(const std::string& path);
  /// The same checks on one file's bytes in memory, which must outlive the result.
  static Result<Safetensors> parse(std::span<const std::byte> bytes);

  /// Sorted by name within a shard.
  [[nodiscard]] std::span<const SafetensorsTensor> tensors() const { return tensors_; }
  /// Null where there is none.
  [[nodiscard]] const SafetensorsTensor* find(std::string_view name) const;
  /// Tells the OS that this tensor's bytes will not be read again soon.
  void release(const SafetensorsTensor& tensor) const;

 private:
  Safetensors() = default;
  Status add_file(std::span<const std::byte> bytes, const std::string& origin);
  Status add_shard(const std::string& path);
  Status open_index(const std::string& path);

  std::vector<MappedFile> shards_;  // empty for bytes in memory
  std::vector<SafetensorsTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace kimberlite::formats
