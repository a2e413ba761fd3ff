// Pictures as the vision projectors of Gemma 4 take them: resized to a budget of tokens, cut into
// blocks. The rule and the arithmetic are those of the official image processor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "media/image.hpp"

namespace kimberlite::media {

/// Tokens that a picture may take at most; a token stands for 48 x 48 pixels.
inline constexpr std::array<uint32_t, 5> kImageBudgets = {70, 140, 280, 560, 1120};
inline constexpr uint32_t kDefaultImageBudget = 280;
inline constexpr uint32_t kAutoImageBudget = 0;
inline constexpr uint32_t kTokenSide = 48;

struct PixelSize {
  uint32_t width = 0;
  uint32_t height = 0;
};

/// The size that a picture is resized to: the largest with sides in whole tokens that has the
/// picture's aspect, about, and at most `budget` tokens. Small pictures grow. Errors:
/// invalid_argument where `budget` is not one of kImageBudgets or the picture has no pixels.
Result<PixelSize> fit_to_budget(PixelSize picture, uint32_t budget);

/// What kAutoImageBudget means: the smallest budget whose pixels are not fewer than the picture's,
/// or `at_most` where there is none. So no picture costs more tokens than its own pixels are worth,
/// and only those above `at_most` * 48 * 48 pixels lose detail; callers that read small print ask
/// for 1120.
uint32_t pick_budget(PixelSize picture, uint32_t at_most);

/// The order of the values of a patch.
enum class PatchOrder {
  planar,       // channel, row, column: what projectors in GGUF files multiply
  interleaved,  // row, column, channel: what the official implementation multiplies
};

struct PatchOptions {
  uint32_t budget = kDefaultImageBudget;  // or kAutoImageBudget
  uint32_t auto_at_most = kDefaultImageBudget;
  uint32_t patch_side = kTokenSide;  // 16 for the towers of E2B, E4B, 26B and 31B
  PatchOrder order = PatchOrder::planar;
};

struct Patches {
  uint32_t n_x = 0;
  uint32_t n_y = 0;
  uint32_t budget = 0;        // as asked for or picked
  PixelSize source;           // the picture as shown, before resizing
  std::vector<float> values;  // [n_y * n_x, 3 * patch_side * patch_side], 0 to 1
};

/// Errors: invalid_argument for options that no projector takes.
Result<Patches> make_patches(const Image& image, const PatchOptions& options);

/// The same from a file's bytes, without ever holding the picture in its own size where the format
/// allows it (JPEG and PNG that are not progressive or interlaced). Errors: of decode_image too.
Result<Patches> decode_patches(std::span<const std::byte> bytes, std::string_view name,
                               const PatchOptions& options);
Result<Patches> read_patches_file(const std::string& path, const PatchOptions& options);

}  // namespace kimberlite::media
