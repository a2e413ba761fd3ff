// What names a picture or a sound by its content: the key of caches of embeddings, and what prompts
// with media are compared by.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "media/frames.hpp"
#include "media/patches.hpp"

namespace kimberlite::media {

using ContentHash = std::array<uint8_t, 32>;

/// SHA-256 of what the projector gets: grid and values. Two files that decode to the same pixels
/// with the same budget have the same hash. Nothing where this build lacks OpenSSL.
std::optional<ContentHash> content_hash(const Patches& patches);
std::optional<ContentHash> content_hash(const Frames& frames);

}  // namespace kimberlite::media
