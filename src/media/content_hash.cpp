#include "media/content_hash.hpp"

#if KIMBERLITE_OPENSSL
#include <openssl/evp.h>
#endif

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"

namespace kimberlite::media {
namespace {

#if KIMBERLITE_OPENSSL

std::optional<ContentHash> hash(std::span<const uint32_t> head, std::span<const float> values) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> state(EVP_MD_CTX_new(),
                                                                      EVP_MD_CTX_free);
  ContentHash result = {};
  unsigned n_bytes = 0;
  const bool done = state != nullptr &&
                    EVP_DigestInit_ex(state.get(), EVP_sha256(), nullptr) == 1 &&
                    EVP_DigestUpdate(state.get(), head.data(), head.size_bytes()) == 1 &&
                    EVP_DigestUpdate(state.get(), values.data(), values.size_bytes()) == 1 &&
                    EVP_DigestFinal_ex(state.get(), result.data(), &n_bytes) == 1;
  if (!done) return std::nullopt;
  KL_CHECK(n_bytes == result.size(), "SHA-256 has 32 bytes");
  return result;
}

#else

std::optional<ContentHash> hash(std::span<const uint32_t>, std::span<const float>) {
  return std::nullopt;
}

#endif

}  // namespace

std::optional<ContentHash> content_hash(const Patches& patches) {
  constexpr uint32_t kPicture = 1;
  // The number of values tells patches of 16 pixels from patches of 48.
  const uint32_t head[] = {kPicture, patches.n_x, patches.n_y};
  return hash(head, patches.values);
}

std::optional<ContentHash> content_hash(const Frames& frames) {
  constexpr uint32_t kSound = 2;
  const uint32_t head[] = {kSound, frames.n, 0};
  return hash(head, frames.values);
}

}  // namespace kimberlite::media
