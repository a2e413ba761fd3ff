// A GGUF model file, or all shards of a split one: typed metadata and tensors as views into the
// mapping. The file is hostile until proven otherwise: everything is checked when it is opened.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"
#include "base/result.hpp"
#include "formats/gguf_parse.hpp"
#include "formats/packed_array.hpp"

namespace kimberlite::formats {

/// Move-only; views stay valid as long as the object they came from, or the one it was moved to.
/// Thread-safe for reading. Typed access never casts: a key of another type is bad_file, naming
/// the key, both types and the byte; so is a missing key.
class GgufFile {
 public:
  /// Opens `path` (UTF-8) and, where it is shard 00001 of a split model, all its siblings.
  static Result<GgufFile> open(const std::string& path);
  /// The same checks on bytes in memory, which must outlive the result. Split files are refused.
  static Result<GgufFile> parse(std::span<const std::byte> bytes);

  /// Tensors of all shards, in file order.
  [[nodiscard]] std::span<const TensorInfo> tensors() const { return header_.tensors; }
  /// Null where there is none.
  [[nodiscard]] const TensorInfo* find_tensor(std::string_view name) const;
  /// Tells the OS that this tensor's bytes will not be read again soon.
  void release(const TensorInfo& tensor) const;

  /// All keys of the first shard, in file order.
  [[nodiscard]] std::span<const GgufEntry> entries() const { return header_.entries; }
  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }
  /// The untyped value, null where there is none.
  [[nodiscard]] const GgufValue* find(std::string_view key) const;

  [[nodiscard]] Result<uint16_t> u16(std::string_view key) const;
  [[nodiscard]] Result<uint32_t> u32(std::string_view key) const;
  [[nodiscard]] Result<int32_t> i32(std::string_view key) const;
  [[nodiscard]] Result<uint64_t> u64(std::string_view key) const;
  [[nodiscard]] Result<float> f32(std::string_view key) const;
  [[nodiscard]] Result<bool> boolean(std::string_view key) const;
  [[nodiscard]] Result<std::string_view> str(std::string_view key) const;

  /// As above where a missing key means `otherwise`; a key of another type is still an error.
  [[nodiscard]] Result<uint32_t> u32_or(std::string_view key, uint32_t otherwise) const;
  [[nodiscard]] Result<float> f32_or(std::string_view key, float otherwise) const;
  [[nodiscard]] Result<bool> boolean_or(std::string_view key, bool otherwise) const;
  [[nodiscard]] Result<std::string_view> str_or(std::string_view key,
                                                std::string_view otherwise) const;

  [[nodiscard]] Result<PackedArray<uint32_t>> u32_array(std::string_view key) const;
  [[nodiscard]] Result<PackedArray<int32_t>> i32_array(std::string_view key) const;
  [[nodiscard]] Result<PackedArray<float>> f32_array(std::string_view key) const;
  [[nodiscard]] Result<PackedArray<bool>> bool_array(std::string_view key) const;
  [[nodiscard]] Result<std::vector<std::string_view>> str_array(std::string_view key) const;

  /// A number per layer: a u32 for all layers alike, or a u32 or i32 array of exactly `n` entries,
  /// none of them negative.
  [[nodiscard]] Result<std::vector<uint32_t>> u32_per_layer(std::string_view key, size_t n) const;

  [[nodiscard]] uint32_t version() const { return header_.version; }
  /// 1 unless the model is split.
  [[nodiscard]] size_t n_shards() const { return shards_.empty() ? 1 : shards_.size(); }
  /// Path of the first shard, or "<memory>".
  [[nodiscard]] const std::string& path() const { return path_; }
  /// An error about `key` in this file: the path, the byte where its value lies, and `what`. For
  /// callers that find a well-typed value wrong.
  [[nodiscard]] Error key_error(std::string_view key, std::string_view what) const;

 private:
  GgufFile() = default;
  Status load_siblings(const std::string& path);
  Status load_sibling(const std::string& path, uint16_t shard, uint16_t n_shards);
  [[nodiscard]] Result<const GgufValue*> typed(std::string_view key, GgufType type) const;
  [[nodiscard]] Result<const GgufValue*> typed_array(std::string_view key, GgufType element) const;
  template <typename T>
  [[nodiscard]] Result<T> scalar(std::string_view key, GgufType type) const;
  template <typename T>
  [[nodiscard]] Result<PackedArray<T>> array(std::string_view key, GgufType element) const;

  std::string path_ = "<memory>";
  std::vector<MappedFile> shards_;  // empty for bytes in memory
  ParsedGguf header_;               // of shard 0, with the tensors of all shards
};

}  // namespace kimberlite::formats
