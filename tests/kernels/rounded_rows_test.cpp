// Every kernel that rounds the rows it computes: the same bits as quant_act on its float32 rows.
#include "kernels/attention.hpp"
#include "kernels/expert_seam.hpp"
#include "kernels/geglu.hpp"
#include "kernels/kv_reference.hpp"
#include "kernels/linear_support.hpp"
#include "kernels/rms_norm.hpp"

namespace kimberlite::kernels {
namespace {

using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;

constexpr uint64_t kRows = 3;
constexpr uint64_t kWidth = 1056;
constexpr float kEps = 1e-6f;

class RoundedRowsTest : public LinearTest {
 protected:
  void SetUp() override {
    if (!can_round_rows(caps_, kWidth)) GTEST_SKIP() << "subgroups of fewer than 8 lanes";
  }

  /// `add` writes rows [kRows, width] in the forms that it is asked for: bytes beside float32, and
  /// words alone.
  void compare(uint64_t width, const graph::VariantPolicy* policy,
               const std::function<void(Graph&, const ActivationRows&)>& add) {
    for (const LinearClass rounding : {LinearClass::int8_dot, LinearClass::int8_swar}) {
      const Shape shape{kRows, quantized_width(rounding, width)};
      Graph graph(caps_, policy);
      ActivationRows y;
      y.rounding = rounding;
      y.rounded = poisoned(DType::u32, shape);
      Tensor floats = poisoned(DType::f32, Shape{kRows, width});
      if (rounding == LinearClass::int8_dot) {
        y.f32 = floats;
      } else {
        add(graph, floats);
      }
      add(graph, y);
      const Tensor expected = poisoned(DType::u32, shape);
      add_quant_act(graph, floats, expected, rounding, "round");
      run(graph);
      EXPECT_EQ(download_u32(y.rounded), download_u32(expected));
    }
  }

  Tensor values(uint32_t seed, float scale = 1.0f, uint64_t n = kRows * kWidth) {
    return upload(random_values(n, seed, scale), Shape{n / kWidth, kWidth});
  }
  Tensor norm(uint32_t seed) { return upload(random_values(kWidth, seed), Shape{kWidth}); }
  ResidualNorm seam(const ActivationRows& y) {
    return {.delta = values(3),
            .post = norm(5),
            .x = values(4, 3.0f),
            .next = norm(6),
            .y = y,
            .scale = 0.53f,
            .eps = kEps};
  }
};

TEST_F(RoundedRowsTest, Norms) {
  for_each_variant(kRmsNorm, [&](const auto& policy) {
    compare(kWidth, &policy, [&](Graph& graph, const ActivationRows& y) {
      add_rms_norm(graph, values(1, 3.0f), norm(2), y, kEps, "norm");
    });
  });
  for_each_variant(kResidualNorm, [&](const auto& policy) {
    compare(kWidth, &policy, [&](Graph& graph, const ActivationRows& y) {
      add_residual_norm(graph, seam(y), "seam");
    });
  });
}

TEST_F(RoundedRowsTest, AResidualStreamWithoutANorm) {
  for_each_variant(kResidualAdd, [&](const auto& policy) {
    for (const LinearClass rounding : {LinearClass::int8_dot, LinearClass::int8_swar}) {
      Graph graph(caps_, &policy);
      ActivationRows y;
      y.rounding = rounding;
      y.rounded = poisoned(DType::u32, {kRows, quantized_width(rounding, kWidth)});
      ResidualNorm node = seam(y);
      node.next = {};
      const Tensor expected = poisoned(DType::u32, y.rounded.shape);
      add_residual_norm(graph, node, "add");
      add_quant_act(graph, node.x, expected, rounding, "round");
      run(graph);
      EXPECT_EQ(download_u32(y.rounded), download_u32(expected));
    }
  });
}

TEST_F(RoundedRowsTest, SeamsAroundExperts) {
  for_each_variant(kExpertInputs, [&](const auto& policy) {
    for (const bool of_experts : {false, true}) {
      compare(kWidth, &policy, [&](Graph& graph, const ActivationRows& y) {
        ActivationRows other;
        other.rounding = y.rounding;
        if (y.rounded.valid()) other.rounded = poisoned(DType::u32, y.rounded.shape);
        if (y.f32.valid()) other.f32 = poisoned(DType::f32, y.f32.shape);
        const Tensor router = poisoned(DType::f32, Shape{kRows, kWidth});
        const ExpertInputs inputs{norm(7), router, norm(8), of_experts ? y : other};
        add_expert_inputs(graph, seam(of_experts ? other : y), inputs, "seam");
      });
    }
  });
  for_each_variant(kExpertSeam, [&](const auto& policy) {
    const PackedMatrix router =
        pack(formats::GgmlType::f32, 8, kWidth, random_rows(formats::GgmlType::f32, 8, kWidth, 9));
    const Tensor scale = upload(random_values(8, 10), Shape{8});
    for (const bool of_experts : {false, true}) {
      compare(kWidth, &policy, [&](Graph& graph, const ActivationRows& y) {
        ActivationRows other;
        other.rounding = y.rounding;
        if (y.rounded.valid()) other.rounded = poisoned(DType::u32, y.rounded.shape);
        if (y.f32.valid()) other.f32 = poisoned(DType::f32, y.f32.shape);
        add_expert_seam(graph, seam(of_experts ? other : y), norm(8), of_experts ? y : other,
                        {norm(7), router, scale, {2, {}}}, "seam");
      });
    }
  });
  for_each_variant(kExpertSum, [&](const auto& policy) {
    compare(kWidth, &policy, [&](Graph& graph, const ActivationRows& y) {
      const ExpertSum sum{values(11), norm(12), values(13, 1.0f, 2 * kRows * kWidth), norm(14),
                          upload(random_values(2 * kRows, 15), Shape{2 * kRows})};
      add_expert_sum(graph, sum, seam(y), "seam");
    });
  });
}

TEST_F(RoundedRowsTest, GatedActivations) {
  compare(kWidth, nullptr, [&](Graph& graph, const ActivationRows& y) {
    add_geglu(graph, values(16, 4.0f), values(17), y, kWidth, "geglu");
  });
}

// Heads of both sizes, caches of every type, one chunk (nothing to split) and several.
TEST_F(RoundedRowsTest, Attention) {
  struct Case {
    KvType type;
    uint32_t head_dim;
    uint32_t n_rows;
  };
  for (const auto& [type, head_dim, n_rows] :
       {Case{KvType::f16, 256, kAttentionChunk}, Case{KvType::f32, 512, kAttentionChunk},
        Case{KvType::q8_0, 512, kAttentionChunk}, Case{KvType::f16, 256, 4 * kAttentionChunk}}) {
    SCOPED_TRACE(::testing::Message() << head_dim << " " << n_rows);
    KvCacheView cache{.type = type, .n_kv_heads = 1, .head_dim = head_dim, .n_rows = n_rows};
    HostCache rows(cache);
    for (uint32_t i = 0; i < n_rows; ++i) rows.set(0, i, 0, random_values(head_dim, i).data());
    cache.k = cache.v = upload_wide(rows.bytes().data(), rows.bytes().size());
    cache.k.shape = cache.v.shape = kv_shape(cache);
    const uint64_t width = 2 * head_dim;
    const Tensor q = upload(random_values(kRows * width, 18, 0.2f), Shape{kRows, width});
    std::vector<uint32_t> columns;
    for (uint32_t i = 0; i < kRows; ++i) {
      for (const uint32_t word : {0u, n_rows - 5 + i, 0u, 1u}) columns.push_back(word);
    }
    const Tensor column_tensor = upload(columns, Shape{kRows, 4});
    const auto add = [&, &cache = cache](Graph& graph, const ActivationRows& y) {
      add_attention(graph, q, column_tensor, cache, y, 2, "attention");
    };
    compare(width, nullptr, add);
    if (type != KvType::f16) continue;
    const AttentionKernels kernels = attention_kernels(cache);
    for (const graph::KernelDesc* kernel : {&kernels.decode, &kernels.merged, &kernels.split}) {
      for_each_variant(*kernel, [&](const auto& policy) { compare(width, &policy, add); });
    }
  }
}

}  // namespace
}  // namespace kimberlite::kernels
