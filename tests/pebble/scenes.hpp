// Pebble's world drawn again from the rules of tools/pebble/pictures.py and sounds.py: scenes that
// its training never saw, as files that anybody could have made.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace kimberlite::testing {

using Rgb = std::array<uint8_t, 3>;

struct Colour {
  const char* name;
  Rgb rgb;
};
inline constexpr Colour kColours[] = {
    {"red", {220, 30, 30}},     {"green", {30, 160, 50}},   {"blue", {40, 70, 220}},
    {"yellow", {240, 220, 40}}, {"white", {250, 250, 250}}, {"black", {10, 10, 10}},
    {"orange", {245, 140, 20}}, {"purple", {130, 40, 170}}, {"pink", {250, 150, 190}},
};
inline constexpr const char* kShapes[] = {"circle", "square", "triangle", "cross", "ring"};

/// A shape's middle and width in cells of 48 pixels.
struct Mark {
  std::string shape;
  Rgb rgb;
  double x, y, size;
};

struct Scene {
  uint32_t n_columns, n_rows;
  Rgb background;
  std::vector<Mark> marks;
};

/// A BMP file of 48 pixels a cell.
std::string draw_bmp(const Scene& scene);

/// A tone, or with 0 Hz silence.
struct Tone {
  double seconds;
  double hertz;
};

/// A WAV file of 16-bit samples, one channel.
std::string play_wav(const std::vector<Tone>& tones, uint32_t sample_rate);

}  // namespace kimberlite::testing
