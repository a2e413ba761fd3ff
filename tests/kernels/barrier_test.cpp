// Barriers are derived from declared access, and synchronisation validation sees whether they are
// there: a graph with one of them left out must be reported.
#include <volk.h>

#include "graph/plan.hpp"
#include "kernels/attention.hpp"
#include "kernels/geglu.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope_kv.hpp"
#include "support/gpu.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

class BarrierTest : public testing::GpuTest {
 protected:
  /// norm -> norm -> gate: two dependencies through scratch memory.
  Graph chain() { return chain(poisoned(DType::f32, Shape{2, 64})); }
  Graph chain(const Tensor& out) {
    constexpr uint64_t kWidth = 64;
    const Shape shape{2, kWidth};
    const Tensor weight = upload(random_values(kWidth, 1), Shape{kWidth});
    Graph graph(caps_);
    const Tensor a = graph.transient("a", DType::f32, shape);
    const Tensor b = graph.transient("b", DType::f32, shape);
    add_rms_norm(graph, upload(random_values(2 * kWidth, 2), shape), weight, a, 1e-6f, "first");
    add_rms_norm(graph, a, weight, b, 1e-6f, "second");
    add_geglu(graph, a, b, out, kWidth, "third");
    return graph;
  }

  /// A cache of two segments of NaN behind a table.
  KvCacheView table_cache() {
    KvCacheView cache{.type = KvType::f32, .n_rows = 128, .segment_rows = 64};
    const Shape rows{64 * kv_row_bytes(cache.type, 1, 256) / 16};
    for (Tensor* table : {&cache.k, &cache.v}) {
      *table = upload_addresses({poisoned(DType::wide, rows), poisoned(DType::wide, rows)});
    }
    return cache;
  }

  /// Position 64 into `written`, then attention over `read` with queries of its own: nothing but
  /// the cache ties the two together.
  Graph cache_graph(const KvCacheView& written, const KvCacheView& read, const Tensor& out) {
    const RopeShape rope{256, 128, 1e4f};
    const Tensor columns = upload(std::vector<uint32_t>{0, 64, 0, 1}, Shape{1, 4});
    const Shape head{1, 256};
    Graph graph(caps_);
    const Tensor norm = upload(std::vector<float>(256, 1.0f), Shape{256});
    const Tensor table = upload(make_rope_table(rope), Shape{2 * kRopeTableRows, 2 * rope.n_pairs});
    add_rope_kv(graph,
                {upload(random_values(256, 1), head), upload(random_values(256, 2), head),
                 upload(random_values(256, 3), head), norm, norm, columns, table,
                 poisoned(DType::f32, head)},
                written, "write");
    add_attention(graph, upload(random_values(256, 4), head), columns, read, out, 1, "read");
    return graph;
  }
};

TEST_F(BarrierTest, ACompleteGraphIsClean) {
  run(chain());
  EXPECT_TRUE(take_messages().empty());
}

/// The same barriers, in command buffers that are submitted apart.
TEST_F(BarrierTest, PartsComputeWhatTheWholeDoes) {
  const Tensor whole = poisoned(DType::f32, Shape{2, 64});
  run(chain(whole));
  for (const uint32_t n_parts : {2u, 3u, 100u}) {
    const Tensor out = poisoned(DType::f32, Shape{2, 64});
    graph::ExecutableOptions options;
    options.n_parts = n_parts;
    run(chain(out), options);
    EXPECT_EQ(download(out), download(whole)) << n_parts;
    EXPECT_TRUE(take_messages().empty()) << n_parts;
  }
}

TEST_F(BarrierTest, EveryMissingBarrierIsReported) {
  if (!gpu_.validated) GTEST_SKIP() << "needs VK_LAYER_KHRONOS_validation";
  for (uint32_t barrier = 0; barrier < 2; ++barrier) {
    graph::ExecutableOptions options;
    options.omit_barrier = barrier;
    run(chain(), options);
    const auto messages = take_messages();
    ASSERT_FALSE(messages.empty()) << "barrier " << barrier;
    EXPECT_NE(messages[0].find("SYNC-HAZARD"), std::string::npos) << messages[0];
  }
}

/// The table stands for the memory that its addresses lead to.
TEST_F(BarrierTest, ATableBringsABarrier) {
  const KvCacheView cache = table_cache();
  const Tensor out = poisoned(DType::f32, Shape{1, 256});
  EXPECT_TRUE(graph::make_plan(cache_graph(cache, cache, out)).barrier_before[1]);
  EXPECT_FALSE(graph::make_plan(cache_graph(cache, table_cache(), out)).barrier_before[1]);
}

/// What is behind an address is in no descriptor, so a barrier for buffers would not do: what was
/// recorded must be one for all memory, from shader writes to shader reads.
TEST_F(BarrierTest, TheBarrierIsForAllMemory) {
  static PFN_vkCmdPipelineBarrier2 record = nullptr;
  static uint32_t n_whole = 0, n_other = 0;
  record = vkCmdPipelineBarrier2;
  n_whole = n_other = 0;
  vkCmdPipelineBarrier2 = [](VkCommandBuffer commands, const VkDependencyInfo* info) {
    const bool whole =
        info->memoryBarrierCount == 1 && info->bufferMemoryBarrierCount == 0 &&
        info->imageMemoryBarrierCount == 0 &&
        (info->pMemoryBarriers->srcAccessMask & VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT) != 0 &&
        (info->pMemoryBarriers->dstAccessMask & VK_ACCESS_2_SHADER_STORAGE_READ_BIT) != 0;
    ++(whole ? n_whole : n_other);
    record(commands, info);
  };
  const KvCacheView cache = table_cache();
  const Tensor out = poisoned(DType::f32, Shape{1, 256});
  const Graph graph = cache_graph(cache, cache, out);
  const graph::Plan plan = graph::make_plan(graph);
  auto scratch =
      vk::Buffer::make(*gpu_.device, plan.scratch_bytes + 16, vk::MemoryKind::device, "s");
  ASSERT_TRUE(scratch.ok());
  auto executable = graph::Executable::make(*gpu_.device, *gpu_.pipelines, graph, plan,
                                            {&*scratch, 0, scratch->n_bytes()});
  vkCmdPipelineBarrier2 = record;
  ASSERT_TRUE(executable.ok());
  EXPECT_GE(executable->n_barriers(), 1u);
  // One more at the start; from and to the host and copies there are others.
  EXPECT_EQ(n_whole, executable->n_barriers() + 1);
}

}  // namespace
}  // namespace kimberlite::kernels
