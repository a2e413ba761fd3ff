#include "kernels/quant_act.hpp"

#include "kernels/linear_support.hpp"
#include "kernels/reference.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

class QuantActTest : public LinearTest {};

TEST_F(QuantActTest, RoundsToTheNearestCode) {
  constexpr uint64_t kRows = 3;
  constexpr uint64_t kCols = 96;
  for (const LinearClass linear_class : {LinearClass::int8_dot, LinearClass::int8_swar}) {
    auto x = random_values(kRows * kCols, 1, 5.0f);
    std::fill_n(x.begin() + 32, 32, 0.0f);  // a block of zeros
    x[40] = -0.0f;
    std::fill_n(x.begin() + 64, 32, 1e-38f);  // below what has a finite inverse
    const uint64_t width = quantized_width(linear_class, kCols);
    const Tensor x_q = poisoned(DType::u32, Shape{kRows, width});
    Graph graph(caps_);
    add_quant_act(graph, upload(x, Shape{kRows, kCols}), x_q, linear_class, "quantise");
    run(graph);
    const auto words = download_u32(x_q);
    const auto back = reference::decode_rounded(std::as_bytes(std::span(words)), linear_class);
    const uint64_t block_words = width / (kCols / 32);
    for (uint64_t block = 0; block < x.size() / 32; ++block) {
      float largest = 0;
      for (uint64_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(x[block * 32 + i]));
      const uint64_t scale_at = block * block_words + block_words - 4;
      const auto d = std::bit_cast<float>(words[scale_at]);
      EXPECT_NEAR(d, largest / 127.0f, largest / 127.0f * 2 * 0x1p-24 + 1e-30);
      double sum = 0;
      for (uint64_t i = block * 32; i < block * 32 + 32; ++i) {
        // Half a code; the product by the inverse is off by a few roundings of 127.
        EXPECT_NEAR(back[i], x[i], d * (0.5 + 127 * 6 * 0x1p-24) + 1e-30) << i;
        if (d != 0) sum += std::round(double{back[i]} / double{d});
      }
      EXPECT_EQ(static_cast<int32_t>(words[scale_at + 1]), static_cast<int32_t>(sum));
    }
  }
}

}  // namespace
}  // namespace kimberlite::kernels
