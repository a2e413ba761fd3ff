// File layout, little-endian:  magic[8]  u64 key bytes  u64 blob bytes  u64 checksum  key  blob
// The checksum is FNV-1a over the blob: it finds torn writes, it is no defence against an attacker.
#include "vk/cache_file.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

#include "base/mapped_file.hpp"
#include "base/replace_contents.hpp"

namespace kimberlite::vk {
namespace {

constexpr char kMagic[8] = {'K', 'L', 'P', 'I', 'P', 'E', '0', '1'};

struct Header {
  char magic[8];
  uint64_t key_bytes;
  uint64_t blob_bytes;
  uint64_t checksum;
};
static_assert(sizeof(Header) == 32);

uint64_t checksum(std::span<const std::byte> bytes) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001b3ull;
  return hash;
}

}  // namespace

std::string cache_key(const DeviceSnapshot& snapshot) {
  // The version and the info too: lavapipe has the same two UUIDs in every version.
  return fmt::format("{} {} {:#x} '{}' {}", snapshot.driver_uuid, snapshot.pipeline_cache_uuid,
                     snapshot.driver_version, snapshot.driver_info, KIMBERLITE_VERSION);
}

std::optional<std::vector<std::byte>> find_cached_blob(const std::string& path,
                                                       const std::string& key) {
  const auto file = MappedFile::open(path);
  if (!file.ok()) return std::nullopt;
  const std::span<const std::byte> bytes = file->bytes();
  if (bytes.size() < sizeof(Header)) return std::nullopt;
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const uint64_t body_bytes = bytes.size() - sizeof(Header);
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) return std::nullopt;
  if (header.key_bytes != key.size() || header.key_bytes > body_bytes) return std::nullopt;
  if (header.blob_bytes != body_bytes - header.key_bytes) return std::nullopt;
  if (std::memcmp(bytes.data() + sizeof(Header), key.data(), key.size()) != 0) return std::nullopt;
  const auto blob = bytes.subspan(sizeof(Header) + key.size());
  if (checksum(blob) != header.checksum) return std::nullopt;
  return std::vector<std::byte>(blob.begin(), blob.end());
}

Status write_cached_blob(const std::string& path, const std::string& key,
                         std::span<const std::byte> blob) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.key_bytes = key.size();
  header.blob_bytes = blob.size();
  header.checksum = checksum(blob);
  return replace_contents(
      path, {std::as_bytes(std::span(&header, 1)), std::as_bytes(std::span(key)), blob},
      "the pipeline cache");
}

}  // namespace kimberlite::vk
