#include "model/projector_keys.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace kimberlite::model {

using formats::GgufFile;

namespace {

constexpr uint32_t kDefaultMerge = 3;  // where a file does not say it

}  // namespace

Result<uint32_t> read_size(const GgufFile& file, const std::string& key, uint32_t step,
                           uint32_t high) {
  KL_ASSIGN(const uint32_t value, file.u32(key));
  if (value == 0 || value % step != 0 || value > high) {
    return file.key_error(
        key, fmt::format("is {}, expected a multiple of {} up to {}", value, step, high));
  }
  return value;
}

Result<float> read_eps(const GgufFile& file, const std::string& key) {
  KL_ASSIGN(const float eps, file.f32(key));
  if (!(eps > 0 && eps < 1)) {
    return file.key_error(key, fmt::format("is {}, expected a number between 0 and 1", eps));
  }
  return eps;
}

Status check_pixels(const GgufFile& file, const std::string& key, float expected) {
  if (!file.has(key)) return {};
  KL_ASSIGN(const auto values, file.f32_array(key));
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == expected) continue;
    return Error{ErrorCode::unsupported, fmt::format("{}: {}[{}] is {}, expected {}", file.path(),
                                                     key, i, values[i], expected)};
  }
  return {};
}

Result<uint32_t> read_patch_positions(const GgufFile& file) {
  const formats::TensorInfo* positions = file.find_tensor(kPatchPositions);
  if (positions == nullptr) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: no tensor {}", file.path(), kPatchPositions)};
  }
  if (positions->ne[1] == 0 || positions->ne[1] > kMaxPatchPositions) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: {} has {} positions, expected 1 to {}", file.path(),
                             kPatchPositions, positions->ne[1], kMaxPatchPositions)};
  }
  return static_cast<uint32_t>(positions->ne[1]);
}

Result<PatchSides> read_patch_sides(const GgufFile& file) {
  PatchSides sides;
  KL_ASSIGN(sides.patch, read_size(file, "clip.vision.patch_size", 1, kMaxPatchSide));
  const std::string merge_key = "clip.vision.projector.scale_factor";
  KL_ASSIGN(sides.merge, file.u32_or(merge_key, kDefaultMerge));
  if (sides.merge == 0 || sides.merge > kMaxPatchSide / sides.patch || sides.token() % 16 != 0) {
    return file.key_error(
        merge_key, fmt::format("is {}: patches of {} pixels make a side that is no multiple of 16 "
                               "up to {}",
                               sides.merge, sides.patch, kMaxPatchSide));
  }
  return sides;
}

Result<uint32_t> read_picture_tokens(const GgufFile& file, uint32_t token_side,
                                     uint32_t default_tokens) {
  const uint32_t token_pixels = token_side * token_side;
  KL_ASSIGN(const uint32_t most_pixels,
            file.u32_or("clip.vision.image_max_pixels", default_tokens * token_pixels));
  return std::max(most_pixels / token_pixels, 1u);
}

}  // namespace kimberlite::model
