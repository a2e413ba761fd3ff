#include "graph/plan.hpp"

#include <gtest/gtest.h>

#include <array>

namespace kimberlite::graph {
namespace {

constexpr std::array kCopyBindings{BindingDesc{"x", Access::read}, BindingDesc{"y", Access::write}};
constexpr std::array kVariants{Variant{"portable", "copy"}};
constexpr KernelDesc kCopy{"copy", kCopyBindings, 0, kVariants};

Node copy(const Tensor& x, const Tensor& y) {
  Node node;
  node.kernel = &kCopy;
  node.variant = &kVariants[0];
  node.tensors = {x, y};
  return node;
}

class PlanTest : public testing::Test {
 protected:
  vk::Caps caps_;
  Graph graph_{caps_};
  // Never dereferenced by the planner: only the address counts.
  const vk::Buffer* buffer_ = reinterpret_cast<const vk::Buffer*>(uintptr_t{0x1000});

  Tensor external(uint64_t offset_bytes) {
    Tensor tensor;
    tensor.buffer = buffer_;
    tensor.offset_bytes = offset_bytes;
    tensor.n_bytes = 256;
    tensor.shape = Shape{64};
    return tensor;
  }
};

TEST_F(PlanTest, LivingTransientsNeverShareBytes) {
  std::vector<Tensor> tensors;
  for (uint64_t i = 0; i < 9; ++i) {
    tensors.push_back(graph_.transient("t", DType::f32, Shape{64 * (1 + i * 7 % 5)}));
  }
  graph_.add(copy(external(0), tensors[0]));
  for (size_t i = 1; i < tensors.size(); ++i) {
    graph_.add(copy(tensors[i - 1], tensors[i]));
    if (i >= 3) graph_.add(copy(tensors[i - 3], external(0)));
  }
  const Plan plan = make_plan(graph_);
  for (size_t a = 0; a < tensors.size(); ++a) {
    for (size_t b = a + 1; b < tensors.size() && b <= a + 3; ++b) {
      const uint64_t a0 = plan.transient_offsets[a], b0 = plan.transient_offsets[b];
      EXPECT_TRUE(a0 + tensors[a].n_bytes <= b0 || b0 + tensors[b].n_bytes <= a0) << a << " " << b;
    }
  }
}

TEST_F(PlanTest, DeadTransientsGiveTheirBytesBack) {
  Tensor previous = graph_.transient("0", DType::f32, Shape{1024});
  graph_.add(copy(external(0), previous));
  for (int i = 0; i < 20; ++i) {
    const Tensor next = graph_.transient("n", DType::f32, Shape{1024});
    graph_.add(copy(previous, next));
    previous = next;
  }
  EXPECT_EQ(make_plan(graph_).scratch_bytes, 2 * 4096u);
}

TEST_F(PlanTest, KeptTransientsLiveToTheEnd) {
  Tensor previous = graph_.transient("0", DType::f32, Shape{1024});
  graph_.add(copy(external(0), previous));
  for (int i = 1; i < 6; ++i) {
    const Tensor next = graph_.transient(std::to_string(i), DType::f32, Shape{1024});
    graph_.add(copy(previous, next));
    previous = next;
  }
  const uint32_t kept = graph_.keep("1");
  EXPECT_EQ(kept, 1u);
  const Plan plan = make_plan(graph_);
  EXPECT_EQ(plan.scratch_bytes, 3 * 4096u);
  for (uint32_t later = 2; later < 6; ++later) {
    EXPECT_NE(plan.transient_offsets[later], plan.transient_offsets[kept]) << later;
  }
}

/// They are filled before the first node, so nothing that lives before their first use may share
/// their bytes, nor anything behind their last: the next node that counts relies on the zeros.
TEST_F(PlanTest, CountersHaveBytesOfTheirOwn) {
  const Tensor before = graph_.transient("before", DType::f32, Shape{64});
  graph_.add(copy(external(0), before));
  graph_.add(copy(before, external(256)));
  graph_.add(copy(external(0), graph_.counters(3)));
  graph_.add(copy(external(0), graph_.counters(100)));
  const Tensor after = graph_.transient("after", DType::f32, Shape{64});
  graph_.add(copy(external(0), after));
  const Plan plan = make_plan(graph_);
  ASSERT_EQ(graph_.transients().size(), 3u);
  EXPECT_EQ(graph_.transients()[1].n_bytes, 400u);
  EXPECT_TRUE(graph_.transients()[1].zeroed);
  for (const size_t other : {0u, 2u}) {
    EXPECT_TRUE(plan.transient_offsets[1] >= plan.transient_offsets[other] + 256 ||
                plan.transient_offsets[1] + 400 <= plan.transient_offsets[other]);
  }
  EXPECT_TRUE(plan.barrier_before[3]);
}

TEST_F(PlanTest, BarriersStandExactlyAtHazards) {
  graph_.add(copy(external(0), external(256)));     // first: nothing to wait for
  graph_.add(copy(external(0), external(512)));     // reads what is read, writes elsewhere
  graph_.add(copy(external(256), external(768)));   // read after write
  graph_.add(copy(external(1024), external(256)));  // write after read
  graph_.add(copy(external(1280), external(256)));  // write after write
  graph_.add(copy(external(512), external(1536)));  // written before an earlier barrier
  EXPECT_EQ(make_plan(graph_).barrier_before,
            (std::vector<bool>{false, false, true, true, true, false}));
}

TEST_F(PlanTest, OverlappingViewsAreTheSameBytes) {
  Tensor whole = external(0);
  whole.n_bytes = 1024;
  graph_.add(copy(external(4096), whole));
  graph_.add(copy(external(768), external(8192)));
  EXPECT_EQ(make_plan(graph_).barrier_before, (std::vector<bool>{false, true}));
}

TEST_F(PlanTest, ReuseOfScratchIsAHazard) {
  const Tensor a = graph_.transient("a", DType::f32, Shape{64});
  const Tensor b = graph_.transient("b", DType::f32, Shape{64});
  graph_.add(copy(external(0), a));
  graph_.add(copy(a, external(256)));
  graph_.add(copy(external(0), b));  // a is dead: b takes its bytes while node 1 may still read
  graph_.add(copy(b, external(512)));
  const Plan plan = make_plan(graph_);
  ASSERT_EQ(plan.transient_offsets[0], plan.transient_offsets[1]);
  EXPECT_EQ(plan.barrier_before, (std::vector<bool>{false, true, true, true}));
}

TEST(PickVariant, TakesTheFirstThatFitsAndIsAllowed) {
  static constexpr std::array kBoth{
      Variant{"fast", "fast", [](const vk::Caps& caps) { return caps.has_int8_dot; }},
      Variant{"portable", "slow"}};
  static constexpr KernelDesc kKernel{"k", kCopyBindings, 0, kBoth};
  struct NoFast : VariantPolicy {
    bool allows(std::string_view kernel, std::string_view variant) const override {
      return !(kernel == "k" && variant == "fast");
    }
  } no_fast;
  vk::Caps caps;
  EXPECT_EQ(pick_variant(kKernel, caps).name, "portable");
  caps.has_int8_dot = true;
  EXPECT_EQ(pick_variant(kKernel, caps).name, "fast");
  EXPECT_EQ(pick_variant(kKernel, caps, &no_fast).name, "portable");
  EXPECT_TRUE(Graph(caps).can_use(kKernel));
  struct Nothing : VariantPolicy {
    bool allows(std::string_view, std::string_view) const override { return false; }
  } nothing;
  EXPECT_EQ(find_variant(kKernel, caps, &nothing), nullptr);
  EXPECT_FALSE(Graph(caps, &nothing).can_use(kKernel));
}

}  // namespace
}  // namespace kimberlite::graph
