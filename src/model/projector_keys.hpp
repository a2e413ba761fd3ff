// Keys that the parts of a projector have in common, checked as they are read. Internal to the
// readers of projectors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "formats/gguf.hpp"

namespace kimberlite::model {

// Beyond these a file is broken or hostile; the largest Gemma 4 stays far below.
inline constexpr uint32_t kMaxProjectorWidth = 1u << 17;
inline constexpr uint32_t kMaxPatchSide = 256;
inline constexpr uint64_t kMaxPatchPositions = 1u << 20;
inline constexpr std::string_view kPatchPositions = "v.position_embd.weight";

/// A u32 that must be a multiple of `step` up to `high`.
Result<uint32_t> read_size(const formats::GgufFile& file, const std::string& key, uint32_t step,
                           uint32_t high);

/// The epsilon of norms, between 0 and 1.
Result<float> read_eps(const formats::GgufFile& file, const std::string& key);

/// Pixels are taken as they are, from 0 to 1: the key is missing or has `expected` alone.
Status check_pixels(const formats::GgufFile& file, const std::string& key, float expected);

/// How many columns, and rows, have a position of their own.
Result<uint32_t> read_patch_positions(const formats::GgufFile& file);

/// The sides of a patch and of a token of a picture, in pixels.
struct PatchSides {
  uint32_t patch = 0;
  uint32_t merge = 0;  // patches on a side of a token

  [[nodiscard]] uint32_t token() const { return patch * merge; }
};
Result<PatchSides> read_patch_sides(const formats::GgufFile& file);

/// Tokens that a picture takes at most, unless somebody wants more.
Result<uint32_t> read_picture_tokens(const formats::GgufFile& file, uint32_t token_side,
                                     uint32_t default_tokens);

}  // namespace kimberlite::model
