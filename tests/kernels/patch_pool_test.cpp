#include "kernels/patch_pool.hpp"

#include "kernels/tower_reference.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using reference::Expected;

struct Case {
  uint64_t width;
  uint32_t n_x, n_y, merge;
};
constexpr Case kCases[] = {
    {4, 1, 1, 3}, {36, 3, 2, 3}, {1152, 2, 5, 3}, {144, 5, 2, 1}, {8, 2, 2, 2}};

class PatchPoolTest : public testing::GpuTest {};

TEST_F(PatchPoolTest, MatchesDoublePrecision) {
  for_each_variant(kPatchPool, [&](const graph::VariantPolicy& policy) {
    for (const Case& c : kCases) {
      for (const bool standardises : {false, true}) {
        SCOPED_TRACE(std::to_string(c.width) + (standardises ? " standardised" : ""));
        const uint64_t n_tokens = uint64_t{c.n_x} * c.n_y;
        const uint64_t n_patches = n_tokens * c.merge * c.merge;
        const auto x = random_values(n_patches * c.width, 1);
        auto bias = random_values(c.width, 2, 5.0f);
        auto factor = random_values(c.width, 3);
        const Tensor y = poisoned(DType::f32, Shape{n_tokens, c.width});
        PatchPool args{.x = upload(x, Shape{n_patches, c.width}),
                       .y = y,
                       .n_x = c.n_x,
                       .merge = c.merge,
                       .scale = 12.5f};
        reference::PatchPoolArgs expected_args{
            .x = x, .width = c.width, .n_x = c.n_x, .merge = c.merge, .scale = 12.5f};
        if (standardises) {
          args.bias = upload(bias, Shape{c.width});
          args.factor = upload(factor, Shape{c.width});
          expected_args.bias = bias;
          expected_args.factor = factor;
        }
        Graph graph(caps_, &policy);
        add_patch_pool(graph, args, "pool");
        run(graph);
        const Expected expected = reference::patch_pool(expected_args);
        const auto result = download(y);
        ASSERT_EQ(result.size(), expected.values.size());
        for (size_t i = 0; i < result.size(); ++i) {
          ASSERT_NEAR(result[i], expected.values[i], expected.bounds[i]) << i;
        }
      }
    }
  });
}

/// Rows and columns of a picture that is not square are no matter of taste.
TEST_F(PatchPoolTest, TheBoundsSeeATurnedPicture) {
  const auto x = random_values(9 * 6 * 4, 1);
  reference::PatchPoolArgs args{.x = x, .width = 4, .n_x = 3, .merge = 3, .scale = 2};
  const Expected right = reference::patch_pool(args);
  args.n_x = 2;
  const Expected turned = reference::patch_pool(args);
  double worst = 0;
  for (size_t i = 0; i < right.values.size(); ++i) {
    worst = std::max(worst, std::abs(turned.values[i] - right.values[i]) / right.bounds[i]);
  }
  EXPECT_GT(worst, 1000);
}

}  // namespace
}  // namespace kimberlite::kernels
