#include "model/vision_tower_config.hpp"

#include <fmt/format.h>

#include "kernels/tower_attention.hpp"
#include "model/projector_config.hpp"
#include "model/projector_keys.hpp"

namespace kimberlite::model {
namespace {

using formats::GgufFile;

constexpr uint32_t kMaxLayers = 256;
constexpr std::string_view kStdBias = "v.std_bias";
constexpr std::string_view kStdScale = "v.std_scale";

Status read_heads(const GgufFile& file, uint32_t width, TowerConfig& tower) {
  const std::string key = "clip.vision.attention.head_count";
  KL_ASSIGN(tower.n_heads, read_size(file, key, 1, width));
  tower.head_dim = width / tower.n_heads;
  if (width % tower.n_heads == 0 && tower.head_dim % 4 == 0 &&
      tower.head_dim <= kernels::kMaxTowerHeadDim) {
    return {};
  }
  return file.key_error(key, fmt::format("is {}: {} values make no heads of a multiple of 4 up to "
                                         "{}",
                                         tower.n_heads, width, kernels::kMaxTowerHeadDim));
}

/// What a file may have and no Gemma 4 does.
Status refuse_layer_scales(const GgufFile& file, uint32_t n_layers) {
  for (uint32_t i = 0; i < n_layers; ++i) {
    const std::string name = fmt::format("v.blk.{}.out_scale.weight", i);
    if (file.find_tensor(name) == nullptr) continue;
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: {}: layers with a scale are not supported", file.path(), name)};
  }
  return {};
}

}  // namespace

Result<VisionConfig> read_vision_tower(const GgufFile& file) {
  VisionConfig vision;
  TowerConfig& tower = vision.tower.emplace();
  KL_ASSIGN(vision.width, read_size(file, "clip.vision.embedding_length", 4, kMaxProjectorWidth));
  KL_ASSIGN(const PatchSides sides, read_patch_sides(file));
  tower.patch = sides.patch;
  tower.merge = sides.merge;
  vision.side = sides.token();
  if (tower.n_patch_values() % 4 != 0) {
    return file.key_error("clip.vision.patch_size",
                          fmt::format("is {}, expected an even number", tower.patch));
  }
  KL_ASSIGN(vision.rms_eps, read_eps(file, "clip.vision.attention.layer_norm_epsilon"));
  KL_ASSIGN(tower.n_layers, read_size(file, "clip.vision.block_count", 1, kMaxLayers));
  KL_ASSIGN(tower.ffn_width,
            read_size(file, "clip.vision.feed_forward_length", 4, kMaxProjectorWidth));
  KL_TRY(read_heads(file, vision.width, tower));
  KL_TRY(check_pixels(file, "clip.vision.image_mean", 0));
  KL_TRY(check_pixels(file, "clip.vision.image_std", 1));
  KL_TRY(refuse_layer_scales(file, tower.n_layers));
  KL_ASSIGN(tower.n_positions, read_patch_positions(file));
  vision.n_positions = tower.n_positions / tower.merge;
  if (vision.n_positions == 0) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: {} has {} positions, fewer than the {} of a token", file.path(),
                             kPatchPositions, tower.n_positions, tower.merge)};
  }
  KL_ASSIGN(vision.n_tokens, read_picture_tokens(file, vision.side, vision.n_tokens));
  tower.standardises =
      file.find_tensor(kStdBias) != nullptr || file.find_tensor(kStdScale) != nullptr;
  return vision;
}

}  // namespace kimberlite::model
