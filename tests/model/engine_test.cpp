// Opening models: what is refused and how, where weights go, what a lost device does.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "model_fixture.hpp"
#include "runtime/session.hpp"
#include "support/golden.hpp"

namespace kimberlite::testing {
namespace {

using formats::GgmlType;
using runtime::Engine;
using runtime::EngineOptions;

/// A tiny model's bytes, to be damaged.
class DamagedFile {
 public:
  explicit DamagedFile(const char* shape = "tiny12") {
    path_ = (std::filesystem::temp_directory_path() /
             ("kimberlite-damaged-" + std::to_string(std::random_device{}()) + ".gguf"))
                .string();
    require_ok(synthetic::write_model(*synthetic::find_shape(shape), 1, GgmlType::f32, path_));
    std::ifstream in(path_, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
  }
  ~DamagedFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

  /// Same length, so that no offset moves.
  void rename(const std::string& from, const std::string& to) {
    const size_t at = bytes_.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bytes_.replace(at, from.size(), to);
  }
  /// The u32 value of a key: after its name and a type word.
  void set_u32(const std::string& key, uint32_t value) {
    const size_t at = bytes_.find(key);
    ASSERT_NE(at, std::string::npos) << key;
    std::memcpy(bytes_.data() + at + key.size() + sizeof(uint32_t), &value, sizeof(value));
  }
  void cut(size_t n_bytes) { bytes_.resize(n_bytes); }

  Error open() {
    std::ofstream(path_, std::ios::binary).write(bytes_.data(), static_cast<long>(bytes_.size()));
    EngineOptions options;
    options.cache_dir = "none";
    const auto engine = Engine::open(path_, options);
    return engine.ok() ? Error{ErrorCode::cancelled, "it opened"} : engine.error();
  }

 private:
  std::string path_;
  std::string bytes_;
};

void expect_error(const Error& error, ErrorCode code, std::initializer_list<const char*> parts) {
  EXPECT_EQ(error.code, code) << error.message;
  for (const char* part : parts) {
    EXPECT_NE(error.message.find(part), std::string::npos) << part << " in: " << error.message;
  }
}

TEST(EngineTest, AMissingTensorIsNamed) {
  DamagedFile file;
  file.rename("blk.3.attn_k.weight", "blk.3.attn_j.weight");
  expect_error(file.open(), ErrorCode::bad_file, {"blk.3.attn_k.weight", "[512, 96]"});
}

TEST(EngineTest, AWrongShapeIsNamedWithBoth) {
  DamagedFile file;
  file.set_u32("gemma4.feed_forward_length", 224);
  expect_error(file.open(), ErrorCode::bad_file, {"ffn_gate.weight", "[224, 96]", "[192, 96]"});
}

TEST(EngineTest, ImpossibleStructuresAreRefused) {
  DamagedFile file;
  file.set_u32("gemma4.embedding_length_per_layer_input", 200);
  expect_error(file.open(), ErrorCode::bad_file, {"embedding_length_per_layer_input", "200", "32"});
  file.set_u32("gemma4.embedding_length_per_layer_input", 256);
  expect_error(file.open(), ErrorCode::bad_file, {"no tensor per_layer_token_embd.weight"});
  file.set_u32("gemma4.embedding_length_per_layer_input", 0);
  file.set_u32("gemma4.attention.shared_kv_layers", 7);
  expect_error(file.open(), ErrorCode::bad_file, {"shared_kv_layers", "is 7", "7 layers"});
  file.set_u32("gemma4.attention.shared_kv_layers", 2);  // layers 5 and 6 are full, 0 to 4 are not
  expect_error(file.open(), ErrorCode::bad_file, {"shared_kv_layers", "is 2", "layer 5"});
  file.set_u32("gemma4.attention.shared_kv_layers", 0);
  file.set_u32("gemma4.attention.key_length", 384);
  expect_error(file.open(), ErrorCode::bad_file, {"key_length", "384"});
}

/// Experts of a file that says something else of them than its tensors do.
TEST(EngineTest, ImpossibleExpertsAreRefused) {
  DamagedFile file("tiny26");
  file.set_u32("gemma4.expert_used_count", 49);
  expect_error(file.open(), ErrorCode::bad_file, {"expert_used_count", "49", "1 to 48"});
  file.set_u32("gemma4.expert_used_count", 4);
  file.set_u32("gemma4.expert_feed_forward_length", 96);
  expect_error(file.open(), ErrorCode::unsupported, {"expert_feed_forward_length", "96", "64"});
  file.set_u32("gemma4.expert_feed_forward_length", 128);
  expect_error(file.open(), ErrorCode::bad_file, {"ffn_down_exps.weight", "[48, 256, 128]"});
  file.set_u32("gemma4.expert_feed_forward_length", 64);
  file.set_u32("gemma4.embedding_length_per_layer_input", 256);
  expect_error(file.open(), ErrorCode::unsupported,
               {"expert_count is 48", "embedding_length_per_layer_input is 256"});
  file.set_u32("gemma4.embedding_length_per_layer_input", 0);
  file.rename("blk.2.ffn_down_exps.scale", "blk.2.ffn_down_exps.scalf");
  expect_error(file.open(), ErrorCode::bad_file, {"no tensor blk.2.ffn_down_exps.scale"});
}

TEST(EngineTest, ATruncatedFileIsRefused) {
  DamagedFile file;
  file.cut(40000);
  EXPECT_EQ(file.open().code, ErrorCode::bad_file);
  file.cut(0);
  EXPECT_EQ(file.open().code, ErrorCode::bad_file);
}

TEST(EngineTest, AnUnknownDeviceIsRefusedByName) {
  DamagedFile file;
  EngineOptions options;
  options.device = "no such device";
  options.cache_dir = "none";
  const auto path = std::filesystem::temp_directory_path() / "kimberlite-device.gguf";
  require_ok(
      synthetic::write_model(*synthetic::find_shape("tiny12"), 1, GgmlType::f32, path.string()));
  const auto engine = Engine::open(path.string(), options);
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message.find("no such device"), std::string::npos);
  std::filesystem::remove(path);
}

TEST(EngineTest, WeightsInHostMemoryGiveTheSameLogits) {
  EngineOptions options;
  TinyModel all("tiny12", 13, GgmlType::q4_0, options);
  options.n_gpu_layers = 2;
  TinyModel some("tiny12", 13, GgmlType::q4_0, options);
  EXPECT_EQ(all.engine().memory().host_weight_bytes, 0u);
  EXPECT_GT(some.engine().memory().host_weight_bytes, 0u);
  DecoderRun one(all, kernels::KvType::f16);
  DecoderRun other(some, kernels::KvType::f16);
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(one.columns({5}, i), other.columns({5}, i));
}

/// Rounding the cache moves logits by no more than a swapped scale would move them by far: f16
/// rounds K and V by 2^-11, q8_0 by 1/254 of a block's largest value.
TEST(EngineTest, CacheTypesStayCloseToFloat32) {
  const Golden golden = require_value(Golden::load("tiny12"));
  EngineOptions options;
  options.precise = true;
  TinyModel model("tiny12", golden.seed, GgmlType::f32, options);
  const auto worst = [&](kernels::KvType type) {
    DecoderRun run(model, type);
    double difference = 0;
    for (uint32_t i = 0; i < golden.tokens.size(); ++i) {
      const auto logits = run.columns({golden.tokens[i]}, i);
      const auto expected = golden.logits().row(i);
      for (size_t j = 0; j < logits.size(); ++j) {
        difference = std::max(difference, std::abs(double{logits[j]} - expected[j]));
      }
    }
    return difference;
  };
  const double f16 = worst(kernels::KvType::f16);
  const double q8_0 = worst(kernels::KvType::q8_0);
  RecordProperty("f16", std::to_string(f16));
  RecordProperty("q8_0", std::to_string(q8_0));
  EXPECT_GT(f16, 1e-4);  // it does round
  EXPECT_LT(f16, 0.25);
  EXPECT_GT(q8_0, f16);
  EXPECT_LT(q8_0, 2.5);
}

TEST(EngineTest, ALostDeviceIsAnErrorAndANewEngineGoesOn) {
  const Golden golden = require_value(Golden::load("tiny12"));
  const runtime::GenerateRequest request = greedy(8);
  {
    TinyModel model("tiny12", golden.seed, GgmlType::f32, precise());
    const auto session = require_value(runtime::Session::make(model.engine(), 128, std::nullopt));
    require_value(session->sync(golden.tokens, {}));
    const auto lost = session->generate(request, [&](int32_t) {
      model.engine().device().simulate_loss();
      return true;
    });
    ASSERT_FALSE(lost.ok());
    EXPECT_EQ(lost.error().code, ErrorCode::device_lost);
    EXPECT_EQ(session->sync({{2, 3, 4}}, {}).error().code, ErrorCode::device_lost);
  }
  TinyModel model("tiny12", golden.seed, GgmlType::f32, precise());
  const auto session = require_value(runtime::Session::make(model.engine(), 128, std::nullopt));
  require_value(session->sync(golden.tokens, {}));
  EXPECT_EQ(require_value(session->generate(request, {})).tokens,
            std::vector<int32_t>(golden.greedy.begin(), golden.greedy.begin() + 8));
}

}  // namespace
}  // namespace kimberlite::testing
