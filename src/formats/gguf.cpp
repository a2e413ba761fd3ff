// Typed access to one parsed file. Split models are in gguf_split.cpp.
#include "formats/gguf.hpp"

#include <fmt/format.h>

#include "base/numeric.hpp"

namespace kimberlite::formats {
namespace {

std::string type_text(const GgufValue& value) {
  if (value.type != GgufType::array) return std::string(gguf_type_name(value.type));
  return fmt::format("array of {} {}", value.count, gguf_type_name(value.element));
}

}  // namespace

Result<GgufFile> GgufFile::open(const std::string& path) {
  GgufFile file;
  file.path_ = path;
  KL_ASSIGN(auto mapped, MappedFile::open(path));
  file.shards_.push_back(std::move(mapped));
  KL_ASSIGN(file.header_, parse_gguf(file.shards_[0].bytes(), path));
  KL_TRY(file.load_siblings(path));
  return file;
}

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes) {
  GgufFile file;
  KL_ASSIGN(file.header_, parse_gguf(bytes, file.path_));
  if (file.has("split.count")) {
    KL_ASSIGN(const auto n_shards, file.u16("split.count"));
    if (n_shards > 1) {
      return file.key_error(
          "split.count", fmt::format("{} shards, but a file in memory has no siblings", n_shards));
    }
  }
  return file;
}

const TensorInfo* GgufFile::find_tensor(std::string_view name) const {
  const auto found = header_.tensor_index.find(name);
  return found == header_.tensor_index.end() ? nullptr : &header_.tensors[found->second];
}

void GgufFile::release(const TensorInfo& tensor) const {
  if (tensor.shard < shards_.size()) {
    shards_[tensor.shard].release(tensor.offset, tensor.data.size());
  }
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found = header_.entry_index.find(key);
  return found == header_.entry_index.end() ? nullptr : &header_.entries[found->second].value;
}

Error GgufFile::key_error(std::string_view key, std::string_view what) const {
  const GgufValue* value = find(key);
  const std::string place = value != nullptr ? fmt::format("byte {}: ", value->offset) : "";
  return {ErrorCode::bad_file, fmt::format("{}: {}key {}: {}", path_, place, printable(key), what)};
}

Result<const GgufValue*> GgufFile::typed(std::string_view key, GgufType type) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    return key_error(key, fmt::format("missing, expected {}", gguf_type_name(type)));
  }
  if (value->type != type) {
    return key_error(key,
                     fmt::format("expected {}, found {}", gguf_type_name(type), type_text(*value)));
  }
  return value;
}

Result<const GgufValue*> GgufFile::typed_array(std::string_view key, GgufType element) const {
  const GgufValue* value = find(key);
  const auto expected = fmt::format("expected array of {}", gguf_type_name(element));
  if (value == nullptr) return key_error(key, "missing, " + expected);
  if (value->type != GgufType::array || value->element != element) {
    return key_error(key, fmt::format("{}, found {}", expected, type_text(*value)));
  }
  return value;
}

template <typename T>
Result<T> GgufFile::scalar(std::string_view key, GgufType type) const {
  KL_ASSIGN(const GgufValue* value, typed(key, type));
  return load<T>(value->data.data());
}

template <typename T>
Result<PackedArray<T>> GgufFile::array(std::string_view key, GgufType element) const {
  KL_ASSIGN(const GgufValue* value, typed_array(key, element));
  return PackedArray<T>(value->data);
}

Result<uint16_t> GgufFile::u16(std::string_view key) const {
  return scalar<uint16_t>(key, GgufType::u16);
}
Result<uint32_t> GgufFile::u32(std::string_view key) const {
  return scalar<uint32_t>(key, GgufType::u32);
}
Result<int32_t> GgufFile::i32(std::string_view key) const {
  return scalar<int32_t>(key, GgufType::i32);
}
Result<uint64_t> GgufFile::u64(std::string_view key) const {
  return scalar<uint64_t>(key, GgufType::u64);
}
Result<float> GgufFile::f32(std::string_view key) const {
  return scalar<float>(key, GgufType::f32);
}
Result<bool> GgufFile::boolean(std::string_view key) const {
  return scalar<bool>(key, GgufType::boolean);
}
Result<std::string_view> GgufFile::str(std::string_view key) const {
  KL_ASSIGN(const GgufValue* value, typed(key, GgufType::string));
  return std::string_view(reinterpret_cast<const char*>(value->data.data()), value->data.size());
}

Result<uint32_t> GgufFile::u32_or(std::string_view key, uint32_t otherwise) const {
  return has(key) ? u32(key) : otherwise;
}
Result<float> GgufFile::f32_or(std::string_view key, float otherwise) const {
  return has(key) ? f32(key) : otherwise;
}
Result<bool> GgufFile::boolean_or(std::string_view key, bool otherwise) const {
  return has(key) ? boolean(key) : otherwise;
}
Result<std::string_view> GgufFile::str_or(std::string_view key, std::string_view otherwise) const {
  return has(key) ? str(key) : otherwise;
}

Result<PackedArray<uint32_t>> GgufFile::u32_array(std::string_view key) const {
  return array<uint32_t>(key, GgufType::u32);
}
Result<PackedArray<int32_t>> GgufFile::i32_array(std::string_view key) const {
  return array<int32_t>(key, GgufType::i32);
}
Result<PackedArray<float>> GgufFile::f32_array(std::string_view key) const {
  return array<float>(key, GgufType::f32);
}
Result<PackedArray<bool>> GgufFile::bool_array(std::string_view key) const {
  return array<bool>(key, GgufType::boolean);
}

// The lengths were checked when the file was opened, so this walk cannot leave the data.
Result<std::vector<std::string_view>> GgufFile::str_array(std::string_view key) const {
  KL_ASSIGN(const GgufValue* value, typed_array(key, GgufType::string));
  std::vector<std::string_view> out;
  out.reserve(value->count);
  const auto* at = reinterpret_cast<const char*>(value->data.data());
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto n_bytes = load<uint64_t>(at);
    out.emplace_back(at + sizeof(n_bytes), n_bytes);
    at += sizeof(n_bytes) + n_bytes;
  }
  return out;
}

Result<std::vector<uint32_t>> GgufFile::u32_per_layer(std::string_view key, size_t n) const {
  const GgufValue* value = find(key);
  if (value != nullptr && value->type != GgufType::array) {
    KL_ASSIGN(const auto same, u32(key));
    return std::vector<uint32_t>(n, same);
  }
  std::vector<uint32_t> out;
  if (value != nullptr && value->element == GgufType::u32) {
    out = PackedArray<uint32_t>(value->data).to_vector();
  } else {
    KL_ASSIGN(const auto signed_values, i32_array(key));
    for (const int32_t v : signed_values) {
      if (v < 0)
        return key_error(key, fmt::format("entry {} is {}, expected 0 or more", out.size(), v));
      out.push_back(static_cast<uint32_t>(v));
    }
  }
  if (out.size() != n) {
    return key_error(
        key, fmt::format("expected one entry for each of {} layers, found {}", n, out.size()));
  }
  return out;
}

}  // namespace kimberlite::formats
