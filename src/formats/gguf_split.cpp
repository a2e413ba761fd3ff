// Split models: NAME-00001-of-0000N.gguf carries the metadata; its siblings carry only tensors.
// split.no counts from zero, file names from one.
#include <fmt/format.h>

#include "formats/gguf.hpp"

namespace kimberlite::formats {
namespace {

std::string shard_suffix(unsigned shard, unsigned n_shards) {
  return fmt::format("-{:05}-of-{:05}.gguf", shard + 1, n_shards);
}

}  // namespace

Status GgufFile::load_siblings(const std::string& path) {
  if (!has("split.count")) return {};
  KL_ASSIGN(const auto n_shards, u16("split.count"));
  if (n_shards <= 1) return {};
  KL_ASSIGN(const auto shard, u16("split.no"));
  if (shard != 0) {
    return key_error("split.no", fmt::format("this is shard {} of {}; open the first one, "
                                             "whose name ends in {}",
                                             shard + 1, n_shards, shard_suffix(0, n_shards)));
  }
  KL_ASSIGN(const auto n_tensors, i32("split.tensors.count"));
  const std::string suffix = shard_suffix(0, n_shards);
  if (!path.ends_with(suffix)) {
    return key_error("split.count",
                     fmt::format("{} shards, so the file's name must end in {}", n_shards, suffix));
  }
  const std::string prefix = path.substr(0, path.size() - suffix.size());
  for (uint16_t i = 1; i < n_shards; ++i) {
    KL_TRY(load_sibling(prefix + shard_suffix(i, n_shards), i, n_shards));
  }
  if (n_tensors < 0 || static_cast<size_t>(n_tensors) != header_.tensors.size()) {
    return key_error("split.tensors.count",
                     fmt::format("{}, but the {} shards hold {} tensors", n_tensors, n_shards,
                                 header_.tensors.size()));
  }
  return {};
}

Status GgufFile::load_sibling(const std::string& path, uint16_t shard, uint16_t n_shards) {
  GgufFile sibling;
  sibling.path_ = path;
  KL_ASSIGN(auto mapped, MappedFile::open(path));
  KL_ASSIGN(sibling.header_, parse_gguf(mapped.bytes(), path));
  KL_ASSIGN(const auto found_shard, sibling.u16("split.no"));
  KL_ASSIGN(const auto found_count, sibling.u16("split.count"));
  if (found_shard != shard) {
    return sibling.key_error("split.no", fmt::format("{}, expected {}", found_shard, shard));
  }
  if (found_count != n_shards) {
    return sibling.key_error("split.count", fmt::format("{}, expected {}", found_count, n_shards));
  }
  for (TensorInfo tensor : sibling.header_.tensors) {
    if (header_.tensors.size() >= kMaxTensors) {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: more than {} tensors over all shards", path, kMaxTensors)};
    }
    if (!header_.tensor_index.emplace(tensor.name, header_.tensors.size()).second) {
      return Error{ErrorCode::bad_file, fmt::format("{}: tensor {} is also in an earlier shard",
                                                    path, printable(tensor.name))};
    }
    tensor.shard = shard;
    header_.tensors.push_back(tensor);
  }
  shards_.push_back(std::move(mapped));
  return {};
}

}  // namespace kimberlite::formats
