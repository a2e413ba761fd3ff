// The header is JSON: {"name": {"dtype": "BF16", "shape": [..], "data_offsets": [begin, end]}, ..,
// "__metadata__": {..}}; offsets count from the end of the header.
#include "formats/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/numeric.hpp"
#include "base/utf8_path.hpp"
#include "formats/gguf_parse.hpp"
#include "formats/json_reader.hpp"

namespace kimberlite::formats {
namespace {

// The largest Gemma 4 headers are a few hundred KiB.
constexpr uint64_t kMaxHeaderBytes = 16 * kMiB;
constexpr uint64_t kMaxIndexBytes = 64 * kMiB;
constexpr size_t kMaxShape = 8;
constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kSingleName = "model.safetensors";

constexpr SafetensorsDtype kDtypes[] = {
    {"F64", 8, std::nullopt},    {"F32", 4, GgmlType::f32},    {"F16", 2, GgmlType::f16},
    {"BF16", 2, GgmlType::bf16}, {"I64", 8, std::nullopt},     {"I32", 4, std::nullopt},
    {"I16", 2, std::nullopt},    {"I8", 1, std::nullopt},      {"U64", 8, std::nullopt},
    {"U32", 4, std::nullopt},    {"U16", 2, std::nullopt},     {"U8", 1, std::nullopt},
    {"BOOL", 1, std::nullopt},   {"F8_E4M3", 1, std::nullopt}, {"F8_E5M2", 1, std::nullopt},
};

Result<std::vector<uint64_t>> read_numbers(const JsonObject& tensor, std::string_view key,
                                           size_t max_count) {
  const Json* member = tensor.find(key);
  if (member == nullptr || !member->is_array() || member->size() > max_count) {
    return tensor.error(key, fmt::format("expected an array of at most {} integers", max_count));
  }
  std::vector<uint64_t> numbers;
  for (const Json& number : *member) {
    if (!number.is_number_unsigned()) {
      return tensor.error(key, fmt::format("entry {} is no unsigned integer", numbers.size()));
    }
    numbers.push_back(number.get<uint64_t>());
  }
  return numbers;
}

// Fills all of `tensor` but the name and the shard. `data` is the file after its header.
Status read_tensor(const JsonObject& entry, std::span<const std::byte> data, uint64_t data_start,
                   SafetensorsTensor& tensor) {
  KL_ASSIGN(const auto dtype_name, entry.str("dtype"));
  const auto* dtype = std::ranges::find(kDtypes, dtype_name, &SafetensorsDtype::name);
  if (dtype == std::end(kDtypes)) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: dtype {} is not known", entry.origin(), printable(dtype_name))};
  }
  KL_ASSIGN(tensor.shape, read_numbers(entry, "shape", kMaxShape));
  KL_ASSIGN(const auto range, read_numbers(entry, "data_offsets", 2));
  if (range.size() != 2 || range[0] > range[1] || range[1] > data.size()) {
    return entry.error("data_offsets", fmt::format("[{}], the data has {} bytes",
                                                   fmt::join(range, ", "), data.size()));
  }
  std::optional<uint64_t> n_bytes = dtype->n_bytes;
  for (const uint64_t n : tensor.shape) {
    if (n_bytes) n_bytes = checked_mul(*n_bytes, n);
  }
  if (n_bytes != range[1] - range[0]) {
    return entry.error("data_offsets",
                       fmt::format("{} bytes, but shape [{}] of {} needs {}", range[1] - range[0],
                                   fmt::join(tensor.shape, ", "), dtype->name,
                                   n_bytes ? std::to_string(*n_bytes) : "more than 64 bits"));
  }
  tensor.dtype = dtype;
  tensor.data = data.subspan(range[0], range[1] - range[0]);
  tensor.offset = data_start + range[0];
  return {};
}

// A shard's name comes from the index file: only a plain name beside it is followed.
bool is_plain_file_name(std::string_view name) {
  return name.ends_with(".safetensors") && name.find_first_of("/\\:") == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

}  // namespace

Status Safetensors::add_file(std::span<const std::byte> bytes, const std::string& origin) {
  if (bytes.size() < sizeof(uint64_t)) {
    return Error{ErrorCode::bad_file, fmt::format("{}: {} bytes are too few for a safetensors file",
                                                  origin, bytes.size())};
  }
  const auto n_header = load<uint64_t>(bytes.data());
  const uint64_t n_left = bytes.size() - sizeof(n_header);
  if (n_header > kMaxHeaderBytes || n_header > n_left) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: a header of {} bytes; the file has {} after the length, allowed "
                             "are {}",
                             origin, n_header, n_left, kMaxHeaderBytes)};
  }
  KL_ASSIGN(const auto header,
            parse_json_object(bytes.subspan(sizeof(n_header), n_header), origin));
  const uint64_t data_start = sizeof(n_header) + n_header;
  const auto data = bytes.subspan(data_start);
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    const std::string what = fmt::format("{}: tensor {}", origin, printable(name));
    if (!value.is_object()) {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: expected an object, found {}", what, value.type_name())};
    }
    SafetensorsTensor tensor{};
    tensor.name = name;
    tensor.shard = shards_.size();
    KL_TRY(read_tensor(JsonObject(value, what), data, data_start, tensor));
    if (!index_.emplace(name, tensors_.size()).second) {
      return Error{ErrorCode::bad_file, what + ": also in an earlier shard"};
    }
    tensors_.push_back(std::move(tensor));
  }
  return {};
}

Status Safetensors::add_shard(const std::string& path) {
  KL_ASSIGN(auto file, MappedFile::open(path));
  KL_TRY(add_file(file.bytes(), path));
  shards_.push_back(std::move(file));
  return {};
}

Status Safetensors::open_index(const std::string& path) {
  KL_ASSIGN(const auto json, read_json_object(path, kMaxIndexBytes));
  KL_ASSIGN(const auto map, JsonObject(json, path).object("weight_map"));
  std::set<std::string> names;
  for (const auto& [tensor, file] : map.json().items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
      return map.error(tensor, "expected the plain name of a .safetensors file");
    }
    names.insert(file.get_ref<const std::string&>());
  }
  const std::filesystem::path folder = utf8_path(path).parent_path();
  for (const std::string& name : names) KL_TRY(add_shard(to_utf8(folder / utf8_path(name))));
  for (const auto& [tensor, file] : map.json().items()) {
    const SafetensorsTensor* found = find(tensor);
    const std::string& expected = file.get_ref<const std::string&>();
    if (found == nullptr ||
        to_utf8(utf8_path(shards_[found->shard].path()).filename()) != expected) {
      return map.error(tensor, fmt::format("not in {}", printable(expected)));
    }
  }
  return {};
}

Result<Safetensors> Safetensors::open(const std::string& path) {
  Safetensors out;
  std::error_code ignored;  // a file that cannot be asked about cannot be mapped either
  const std::filesystem::path given = utf8_path(path);
  if (std::filesystem::is_directory(given, ignored)) {
    if (std::filesystem::exists(given / kIndexName, ignored)) {
      KL_TRY(out.open_index(to_utf8(given / kIndexName)));
    } else {
      KL_TRY(out.add_shard(to_utf8(given / kSingleName)));
    }
  } else if (path.ends_with(".json")) {
    KL_TRY(out.open_index(path));
  } else {
    KL_TRY(out.add_shard(path));
  }
  return out;
}

Result<Safetensors> Safetensors::parse(std::span<const std::byte> bytes) {
  Safetensors out;
  KL_TRY(out.add_file(bytes, "<memory>"));
  return out;
}

const SafetensorsTensor* Safetensors::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void Safetensors::release(const SafetensorsTensor& tensor) const {
  if (tensor.shard < shards_.size()) {
    shards_[tensor.shard].release(tensor.offset, tensor.data.size());
  }
}

}  // namespace kimberlite::formats
