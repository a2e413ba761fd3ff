#include "pebble/scenes.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kimberlite::testing {
namespace {

constexpr uint32_t kCell = 48;
constexpr int kFiner = 3;  // samples per pixel and axis, so that edges are smooth

/// Whether a point of the shape's own square [-1, 1] belongs to it; y grows downwards.
bool is_inside(const std::string& shape, double x, double y) {
  if (shape == "circle") return x * x + y * y <= 1;
  if (shape == "square") return std::abs(x) <= 0.85 && std::abs(y) <= 0.85;
  if (shape == "triangle") return y <= 0.85 && y >= -0.95 + 1.8 * std::abs(x);
  if (shape == "ring") return x * x + y * y <= 1 && x * x + y * y >= 0.36;
  return (std::abs(x) <= 0.3 && std::abs(y) <= 1) || (std::abs(y) <= 0.3 && std::abs(x) <= 1);
}

double share_inside(const Mark& mark, uint32_t column, uint32_t row) {
  int n = 0;
  for (int i = 0; i < kFiner * kFiner; ++i) {
    const double x = (column + (i % kFiner + 0.5) / kFiner) / kCell - mark.x;
    const double y = (row + (i / kFiner + 0.5) / kFiner) / kCell - mark.y;
    n += is_inside(mark.shape, 2 * x / mark.size, 2 * y / mark.size) ? 1 : 0;
  }
  return n / double{kFiner * kFiner};
}

Rgb pixel(const Scene& scene, uint32_t column, uint32_t row) {
  Rgb rgb = scene.background;
  for (const Mark& mark : scene.marks) {
    const double share = share_inside(mark, column, row);
    for (size_t c = 0; c < 3; ++c) {
      rgb[c] = static_cast<uint8_t>(std::lround(rgb[c] + share * (mark.rgb[c] - rgb[c])));
    }
  }
  return rgb;
}

void add_little(std::string& file, uint32_t value, int n_bytes) {
  for (int i = 0; i < n_bytes; ++i) file += static_cast<char>(value >> (8 * i) & 0xff);
}

}  // namespace

std::string draw_bmp(const Scene& scene) {
  const uint32_t width = scene.n_columns * kCell, height = scene.n_rows * kCell;
  std::string file = "BM";
  add_little(file, 54 + 3 * width * height, 4);
  add_little(file, 0, 4);
  add_little(file, 54, 4);  // where the pixels begin
  add_little(file, 40, 4);
  add_little(file, width, 4);
  add_little(file, height, 4);
  add_little(file, 1, 2);
  add_little(file, 24, 2);
  for (int i = 0; i < 6; ++i) add_little(file, 0, 4);
  for (uint32_t row = height; row-- > 0;) {  // the last row comes first
    for (uint32_t column = 0; column < width; ++column) {
      const Rgb rgb = pixel(scene, column, row);
      file.append(
          {static_cast<char>(rgb[2]), static_cast<char>(rgb[1]), static_cast<char>(rgb[0])});
    }
  }
  return file;
}

std::string play_wav(const std::vector<Tone>& tones, uint32_t sample_rate) {
  std::string samples;
  for (const Tone& tone : tones) {
    const auto n = static_cast<uint32_t>(std::lround(tone.seconds * sample_rate));
    const uint32_t fade = std::min(n / 2, sample_rate / 200);  // so that nothing clicks
    for (uint32_t i = 0; i < n; ++i) {
      const double edge = std::min({1.0, double(i) / fade, double(n - i) / fade});
      const double phase = 2 * std::numbers::pi * tone.hertz * i / sample_rate;
      const auto value = static_cast<int16_t>(std::lround(0.5 * 32767 * edge * std::sin(phase)));
      add_little(samples, static_cast<uint16_t>(value), 2);
    }
  }
  const auto n_bytes = static_cast<uint32_t>(samples.size());
  std::string file = "RIFF";
  add_little(file, 36 + n_bytes, 4);
  file += "WAVEfmt ";
  add_little(file, 16, 4);
  add_little(file, 1, 2);
  add_little(file, 1, 2);
  add_little(file, sample_rate, 4);
  add_little(file, 2 * sample_rate, 4);
  add_little(file, 2, 2);
  add_little(file, 16, 2);
  file += "data";
  add_little(file, n_bytes, 4);
  return file + samples;
}

}  // namespace kimberlite::testing
