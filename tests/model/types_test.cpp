// Weights of every type through a whole model: its logits are those of the same values in float32,
// which golden_test.cpp compares with the official implementation. And types that are refused.
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "kernels/kv_layout.hpp"
#include "model/decoder.hpp"
#include "model/weights.hpp"
#include "model_fixture.hpp"
#include "support/golden.hpp"

namespace kimberlite::testing {
namespace {

using formats::GgmlType;
using ::testing::HasSubstr;

/// The types that have no golden of their own, in turn over the matrices of one model. Six layers
/// of six or seven matrices: every type is in several of them, and in different places.
synthetic::ModelTypes mixed_types() {
  using enum GgmlType;
  synthetic::ModelTypes types(q5_k);
  types.matrices = {q5_k, q5_0,  q5_1,  q4_1, iq4_xs, iq4_nl, q3_k,
                    q2_k, mxfp4, nvfp4, q1_0, q2_0,   tq1_0,  tq2_0};
  return types;
}

TEST(Types, AModelOfEveryTypeComputesWithTheirValues) {
  const Golden golden = require_value(Golden::load("tiny12-k"));
  synthetic::ModelTypes types = mixed_types();
  TinyModel typed("tiny12-k", golden.seed, types, precise());
  types.as_f32 = true;
  TinyModel plain("tiny12-k", golden.seed, types, precise());
  DecoderRun a(typed, kernels::KvType::f32);
  DecoderRun b(plain, kernels::KvType::f32);
  double spread = 0;
  for (uint32_t i = 0; i < 12; ++i) {
    const auto typed_logits = a.columns({golden.tokens[i]}, i);
    const auto plain_logits = b.columns({golden.tokens[i]}, i);
    ASSERT_EQ(typed_logits.size(), plain_logits.size());
    for (size_t j = 0; j < typed_logits.size(); ++j) {
      ASSERT_NEAR(typed_logits[j], plain_logits[j], 1e-3) << i << " " << j;  // as in golden_test
      spread = std::max(spread, std::abs(double{plain_logits[j]}));
    }
  }
  EXPECT_GT(spread, 3) << "logits that say nothing";
}

/// A tiny model in which one tensor claims to be of another type, with blocks as large.
class Retyped {
 public:
  Retyped(const std::string& tensor, GgmlType type, GgmlType stored = GgmlType::q3_k) {
    path_ = (std::filesystem::temp_directory_path() /
             ("kimberlite-retyped-" + std::to_string(std::random_device{}()) + ".gguf"))
                .string();
    require_ok(synthetic::write_model(*synthetic::find_shape("tiny12-k"), 1, stored, path_));
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    std::string bytes(std::istreambuf_iterator<char>(file), {});
    const size_t name = bytes.find(tensor);
    KL_CHECK(name != std::string::npos, "a tensor of the model");
    // After the name: the number of dimensions (two), the dimensions, the type.
    file.seekp(static_cast<std::streamoff>(name + tensor.size() + 4 + 2 * 8));
    const auto id = static_cast<uint32_t>(type);
    file.write(reinterpret_cast<const char*>(&id), sizeof(id));
  }
  ~Retyped() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

  std::string refusal() const {
    const auto file = formats::GgufFile::open(path_);
    if (!file.ok()) return "no file: " + file.error().message;
    const auto config = model::read_config(*file);
    if (!config.ok()) return "no config: " + config.error().message;
    const auto plan = model::Weights::plan(*file, *config, vk::Caps{}, {}, config->n_layers);
    if (plan.ok()) return "accepted";
    EXPECT_EQ(plan.error().code, ErrorCode::unsupported);
    return plan.error().message;
  }

 private:
  std::string path_;
};

TEST(Types, CodebooksAreRefusedByNameWithWhatToUse) {
  EXPECT_EQ(Retyped("blk.2.ffn_up.weight", GgmlType::q3_k).refusal(), "accepted");
  EXPECT_THAT(Retyped("blk.2.ffn_up.weight", GgmlType::iq3_s).refusal(),
              HasSubstr("blk.2.ffn_up.weight: type iq3_s is not supported; take a file in q3_k or "
                        "iq4_xs instead"));
  EXPECT_THAT(Retyped("token_embd.weight", GgmlType::iq2_xxs).refusal(),
              HasSubstr("token_embd.weight: type iq2_xxs is not supported; take a file in q2_k or "
                        "iq4_xs instead"));
  EXPECT_THAT(Retyped("blk.0.attn_q.weight", GgmlType::i32, GgmlType::f32).refusal(),
              HasSubstr("blk.0.attn_q.weight: type i32 is not one that weights have"));
}

}  // namespace
}  // namespace kimberlite::testing
