// What doctor says of a driver, what it leaves for the next start, and what a model asks of the
// arithmetic that is measured.
#include "runtime/diagnosis.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "kernels/matvec.hpp"
#include "runtime/engine.hpp"
#include "runtime/mac_rate.hpp"
#include "support/gpu.hpp"
#include "synthetic/model_file.hpp"

namespace kimberlite::runtime {
namespace {

using formats::GgmlType;
using kernels::LinearClass;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A small model of Q4_0, and a cache folder of its own.
class DiagnosisTest : public ::testing::Test {
 protected:
  DiagnosisTest() {
    folder_ = std::filesystem::temp_directory_path() /
              ("kimberlite-diagnosis-" + std::to_string(std::random_device{}()));
    std::filesystem::create_directory(folder_);
    options_.model = write("tiny12");
    options_.cache_dir = folder_.string();
  }
  ~DiagnosisTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const char* shape) {
    std::string path = (folder_ / (std::string(shape) + ".gguf")).string();
    const Status written =
        synthetic::write_model(*synthetic::find_shape(shape), 1, GgmlType::q4_0, path);
    EXPECT_TRUE(written.ok());
    return path;
  }

  std::unique_ptr<Engine> open(const std::string& path) {
    EngineOptions options;
    options.cache_dir = options_.cache_dir;
    auto engine = Engine::open(path, options);
    if (!engine.ok()) {
      ADD_FAILURE() << engine.error().message;
      std::abort();
    }
    return std::move(engine).value();
  }

  Diagnosis examine(const std::string& wrong_kernel = "") {
    const auto corrupt = [&](std::string_view kernel, std::string_view, std::span<float> out) {
      if (kernel == wrong_kernel) out[out.size() / 2] += 100;
    };
    auto diagnosis = diagnose(options_, corrupt);
    if (!diagnosis.ok()) {
      ADD_FAILURE() << diagnosis.error().message;
      return {};
    }
    return std::move(diagnosis).value();
  }

  std::filesystem::path folder_;
  DiagnoseOptions options_;
  const vk::Caps caps_ = kimberlite::testing::Gpu::get().device->caps();
};

std::vector<std::string> failed_kernels(const Diagnosis& diagnosis) {
  std::vector<std::string> kernels;
  for (const CheckResult& check : diagnosis.checks) {
    EXPECT_EQ(check.passed, check.failure.empty()) << check.name;
    if (!check.passed) kernels.push_back(check.kernel);
  }
  return kernels;
}

TEST_F(DiagnosisTest, AGoodDriverIsWell) {
  const Diagnosis diagnosis = examine();
  EXPECT_TRUE(diagnosis.healthy());
  EXPECT_TRUE(diagnosis.remembered);
  EXPECT_THAT(failed_kernels(diagnosis), IsEmpty());
  EXPECT_GT(diagnosis.checks.size(), 10u);
  EXPECT_GT(diagnosis.copy_bytes_per_second, 0);
  ASSERT_EQ(diagnosis.matrix_rates.size(), product_classes(caps_).size());
  EXPECT_EQ(diagnosis.matrix_rates[0].arithmetic, "f32");
  for (const MatrixRate& rate : diagnosis.matrix_rates) EXPECT_GT(rate.macs_per_second, 1e6);
  const DeviceDetails& device = diagnosis.device;
  EXPECT_TRUE(device.info.chosen);
  EXPECT_EQ(device.subgroup_size, caps_.subgroup_size);
  EXPECT_FALSE(device.heaps.empty());
  EXPECT_TRUE(std::ranges::any_of(diagnosis.ranking, &DeviceInfo::chosen));
  // The model finds nothing left to check, and a second look checks all of it again.
  EXPECT_THAT(open(options_.model)->warnings(), IsEmpty());
  EXPECT_EQ(examine().checks.size(), diagnosis.checks.size());
}

TEST_F(DiagnosisTest, AWrongKernelStaysOffUntilItIsForgotten) {
  const LinearClass best = kernels::pick_linear_class(GgmlType::q4_0, 96, 96, caps_, false);
  if (best == LinearClass::f32) GTEST_SKIP() << "a driver with one arithmetic has nothing to lose";
  const std::string wrong(kernels::matvec_kernel(GgmlType::q4_0, best).name);
  EXPECT_TRUE(open(options_.model)->position_macs().contains(best));

  const Diagnosis first = examine(wrong);
  EXPECT_FALSE(first.healthy());
  EXPECT_THAT(first.failure, IsEmpty());
  EXPECT_THAT(failed_kernels(first), ::testing::Each(wrong));
  EXPECT_THAT(failed_kernels(first), ::testing::Not(IsEmpty()));
  ASSERT_FALSE(first.switched_off.empty());
  EXPECT_THAT(first.switched_off.back(), HasSubstr(" is off for q4_0 matrices, using f32"));
  EXPECT_TRUE(first.remembered);

  const auto engine = open(options_.model);
  EXPECT_EQ(engine->warnings(), first.switched_off);
  EXPECT_FALSE(engine->position_macs().contains(best));

  const Diagnosis second = examine();  // the driver is right now, but who knows until when
  EXPECT_FALSE(second.healthy());
  EXPECT_THAT(failed_kernels(second), IsEmpty());
  EXPECT_EQ(second.switched_off, first.switched_off);

  options_.fresh = true;
  EXPECT_TRUE(examine().healthy());
  EXPECT_TRUE(open(options_.model)->position_macs().contains(best));
}

TEST_F(DiagnosisTest, WithoutAVariantLeftTheOthersAreStillChecked) {
  const Diagnosis diagnosis = examine("geglu");
  EXPECT_FALSE(diagnosis.healthy());
  EXPECT_FALSE(diagnosis.remembered);
  EXPECT_THAT(diagnosis.failure, HasSubstr("kernel geglu variant portable: wrong results"));
  EXPECT_THAT(failed_kernels(diagnosis), ElementsAre("geglu"));
  EXPECT_GT(diagnosis.checks.size(), 10u);
  EXPECT_EQ(diagnosis.checks.back().passed, true);
}

/// Without the embedding, which a prompt looks up; of experts those that a token chooses.
TEST_F(DiagnosisTest, CountsTheProductsOfAPosition) {
  for (const char* shape : {"tiny12", "tiny26", "tiny-e2b"}) {
    SCOPED_TRACE(shape);
    EngineOptions options;
    options.cache_dir = options_.cache_dir;
    const auto engine = Engine::prepare(write(shape), options);
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    const model::ModelConfig& config = (*engine)->config();
    uint64_t expected = 0;
    for (const formats::TensorInfo& tensor : (*engine)->file().tensors()) {
      const bool is_layer = tensor.name.starts_with("blk.");
      if (tensor.n_dims < 2 || (!is_layer && tensor.name != "per_layer_model_proj.weight")) {
        continue;
      }
      // Layers that read another one's keys and values do not compute their own.
      const bool is_kv = tensor.name.find(".attn_k.") != std::string::npos ||
                         tensor.name.find(".attn_v.") != std::string::npos;
      if (is_kv && std::stoul(std::string(tensor.name.substr(4))) >= config.n_kv_layers) continue;
      uint64_t macs = tensor.ne[0] * tensor.ne[1];
      if (tensor.n_dims == 3) macs *= config.experts.n_used;
      expected += macs;
    }
    uint64_t counted = 0;
    for (const auto& [linear_class, n_macs] : (*engine)->position_macs()) counted += n_macs;
    EXPECT_EQ(counted, expected);
  }
}

TEST(CommonRequest, HasEveryClassOfTheDevice) {
  const vk::Caps caps = kimberlite::testing::Gpu::get().device->caps();
  const ProbeRequest request = common_request(caps, /*segments=*/true);
  for (const LinearClass linear_class : product_classes(caps)) {
    EXPECT_TRUE(std::ranges::any_of(request.matrices, [&](const kernels::MatrixKind& kind) {
      return kind.linear_class == linear_class;
    })) << kernels::linear_class_text(linear_class);
  }
  EXPECT_TRUE(std::ranges::includes(request.matrices, request.gated));
}

}  // namespace
}  // namespace kimberlite::runtime
