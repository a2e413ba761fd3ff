#include "runtime/probe.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <utility>

#include "formats/quant.hpp"
#include "kernels/reference.hpp"
#include "model/linear_policy.hpp"
#include "runtime/engine.hpp"
#include "runtime/probe_cache.hpp"
#include "runtime/probe_inputs.hpp"
#include "support/gpu.hpp"
#include "synthetic/model_file.hpp"

namespace kimberlite::runtime {
namespace {

using formats::GgmlType;
using kernels::LinearClass;
using kernels::MatrixKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

constexpr AttentionKind kSliding{4, 2, 1024, {256, 128, 1e4}};
constexpr AttentionKind kFull{4, 1, 0, {512, 64, 1e6}};
constexpr AttentionKind kFullInSegments{4, 1, 0, {512, 64, 1e6}, false, true};

class ProbeTest : public kimberlite::testing::GpuTest {
 protected:
  ProbeTest() {
    const auto folder = std::filesystem::temp_directory_path();
    path_ = (folder / ("kimberlite-probe-" + std::to_string(std::random_device{}()) + ".json"))
                .string();
  }
  ~ProbeTest() override {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

  /// What every model uses, and no more.
  ProbeRequest small_request() {
    ProbeRequest request;
    request.caps = &caps_;
    return request;
  }

  ProbeReport run_probe(const ProbeRequest& request) {
    auto report = probe(*gpu_.device, *gpu_.pipelines, request);
    if (!report.ok()) {
      ADD_FAILURE() << report.error().message;
      return {};
    }
    return std::move(report).value();
  }

  /// The device of the test program and another one.
  Result<ProbeReport> probe_on_two(const ProbeRequest& request) {
    KL_ASSIGN(const auto other, vk::Device::make(*gpu_.instance, 0, gpu_.device->plan()));
    KL_ASSIGN(const auto pipelines, vk::PipelineCache::make(*other, ""));
    const ProbeDevice devices[] = {{*gpu_.device, *gpu_.pipelines}, {*other, *pipelines}};
    return probe(devices, request);
  }

  std::string path_;
};

TEST_F(ProbeTest, ThisDriverPasses) {
  ProbeRequest request;
  for (const GgmlType type : {GgmlType::q4_0, GgmlType::q6_k}) {
    request.matrices.insert({type, kernels::pick_linear_class(type, 4096, 4096, caps_, false)});
  }
  request.tables = {{GgmlType::q6_k, LinearClass::f32}};
  request.experts = {
      {GgmlType::q4_0, kernels::pick_linear_class(GgmlType::q4_0, 4096, 4096, caps_, false)}};
  request.gated = request.matrices;
  request.attention = {kSliding, kFull, kFullInSegments};
  request.media = true;
  request.tower_head_dim = 72;
  request.conformer = true;
  std::vector<double> fractions;
  request.progress = [&](double fraction) { fractions.push_back(fraction); };
  const auto start = std::chrono::steady_clock::now();
  const ProbeReport report = run_probe(request);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  EXPECT_THAT(report.warnings, ElementsAre());
  EXPECT_EQ(report.n_run, report.checked.size());
  for (const char* name : {"layer_norm", "soft_rows", "clip", "tower_attention d72", "rope_2d d72",
                           "patch_pool", "add_rows", "conv2d", "silu", "local_attention",
                           "light_conv", "residual_plain", "rms of a sum", "expert_seam"}) {
    EXPECT_TRUE(report.checked.contains(name)) << name;
  }
  EXPECT_TRUE(std::ranges::any_of(
      report.checked, [](const std::string& name) { return name.starts_with("picture "); }));
  EXPECT_GE(fractions.size(), 2u);
  EXPECT_TRUE(std::ranges::is_sorted(fractions));
  EXPECT_EQ(fractions.back(), 1.0);
  RecordProperty("seconds", std::to_string(spent.count()));
}

TEST_F(ProbeTest, EveryKindOfMatrixAndCachePasses) {
  ProbeRequest request;
  for (const MatrixKind& kind : kernels::matrix_kinds()) {
    // Types that share a module: of the int8 class one with groups of 32, of 16 with a minimum and
    // with a bias, and with a table.
    const bool is_shared = kernels::find_coded_format(kind.type, kind.linear_class).has_value();
    const bool is_chosen = kind.type == GgmlType::q5_k || kind.type == GgmlType::q2_k ||
                           kind.type == GgmlType::q6_k || kind.type == GgmlType::mxfp4;
    if (is_shared && kind.linear_class != LinearClass::f32 && !is_chosen) continue;
    request = {};
    request.matrices = {kind};
    request.tables = {kind};
    if (kind.type == GgmlType::q4_0 || kind.type == GgmlType::q8_0) {
      request.experts = {kind};
      request.gated = {kind};
    }
    request.known.checked = {"rms_norm", "sample"};
    EXPECT_THAT(run_probe(request).warnings, ElementsAre());
  }
  for (const kernels::KvType type : {kernels::KvType::f32, kernels::KvType::q8_0}) {
    request = {};
    request.attention = {kSliding, kFull, kFullInSegments};
    request.kv_type = type;
    request.drafts = type == kernels::KvType::f32;
    request.known.checked = {"rms_norm", "sample"};
    EXPECT_THAT(run_probe(request).warnings, ElementsAre());
  }
}

TEST_F(ProbeTest, ProductsByMatricesPassOrGiveWay) {
  if (caps_.int8_matrix.m == 0) GTEST_SKIP() << "no cooperative matrices of int8";
  caps_.is_cpu = false;
  caps_.has_int8_dot = true;
  caps_.max_workgroup_size = 128;  // few enough parts of K for a CPU driver's shared memory
  ProbeRequest request = small_request();
  request.known.checked = {"rms_norm", "sample"};
  request.matrices = {{GgmlType::q4_0, LinearClass::int8_dot}};
  request.experts = request.gated = request.matrices;
  caps_.matrix_columns = 4 * caps_.int8_matrix.n;
  size_t n_wide = 0;
  request.corrupt = [&](std::string_view kernel, std::string_view, std::span<float> out) {
    // 11 of 12 matrices of columns: two tiles of four and one that ends with columns of none.
    const size_t width = kernels::kPanelRows + 6;
    if (kernel == "matmul_q4_0_int8" && out.size() == 11 * caps_.int8_matrix.n * width) ++n_wide;
  };
  EXPECT_THAT(run_probe(request).warnings, ElementsAre());
  EXPECT_EQ(n_wide, caps_.int8_matrix.n == 8 ? 1u : 0u);

  std::set<std::string> variants;
  request.outcome = [&](const ProbeOutcome& outcome) {
    if (outcome.check == "experts matmul_q4_0_int8 in tiles") variants.insert(outcome.variant);
  };
  request.corrupt = [](std::string_view, std::string_view variant, std::span<float> out) {
    if (variant == "split_matrix") out[0] = 1e9f;
  };
  const ProbeReport report = run_probe(request);
  EXPECT_THAT(report.disabled.names(), ElementsAre("matmul_q4_0_int8:split_matrix"));
  EXPECT_THAT(report.disabled_classes, ElementsAre());
  EXPECT_THAT(variants, ElementsAre("split_dot", "split_matrix"));
}

TEST_F(ProbeTest, AWrongVariantIsNamedAndTheNextOneTakesOver) {
  caps_.is_cpu = false;  // GPUs have a variant before the portable one
  ProbeRequest request = small_request();
  request.corrupt = [](std::string_view kernel, std::string_view variant, std::span<float> out) {
    if (kernel == "residual_norm" && variant == "workgroup") out[out.size() / 2] += 3;
  };
  const ProbeReport report = run_probe(request);
  EXPECT_THAT(report.disabled.names(), ElementsAre("residual_norm:workgroup"));
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_THAT(report.warnings[0], HasSubstr("kernel residual_norm variant workgroup: "));
  EXPECT_THAT(report.warnings[0], HasSubstr("max error 3, allowed "));
  EXPECT_THAT(report.warnings[0], HasSubstr(": using portable"));
  EXPECT_FALSE(report.disabled.allows("residual_norm", "workgroup"));
  EXPECT_TRUE(report.disabled.allows("rms_norm", "workgroup"));
  EXPECT_EQ(graph::pick_variant(*kernels::all_kernels()[1], caps_, &report.disabled).name,
            "portable");
}

TEST_F(ProbeTest, AVariantThatFailsTwoChecksOfARoundIsBlamedOnce) {
  caps_.is_cpu = false;
  ProbeRequest request = small_request();
  request.matrices = request.gated = {{GgmlType::q8_0, LinearClass::f32}};
  request.corrupt = [](std::string_view kernel, std::string_view variant, std::span<float> out) {
    if (kernel == "matvec_q8_0" && variant == "split") out[0] = 1e9f;
  };
  std::vector<std::string> failed;
  request.outcome = [&](const ProbeOutcome& outcome) {
    if (!outcome.failure.empty()) failed.push_back(outcome.check + " " + outcome.variant);
  };
  const ProbeReport report = run_probe(request);
  EXPECT_THAT(failed, ElementsAre("matvec_q8_0 split", "gated matvec_q8_0 split"));
  EXPECT_THAT(report.disabled.names(), ElementsAre("matvec_q8_0:split"));
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_THAT(report.warnings[0], HasSubstr("kernel matvec_q8_0 variant split: wrong results"));
  EXPECT_THAT(report.warnings[0], HasSubstr("using panel"));
}

TEST_F(ProbeTest, WhatPassedByAVariantThatIsOffIsCheckedAnew) {
  caps_.is_cpu = false;
  ProbeRequest request = small_request();
  request.matrices = request.gated = {{GgmlType::q8_0, LinearClass::f32}};
  request.corrupt = [](std::string_view kernel, std::string_view variant, std::span<float> out) {
    constexpr size_t kGatedWidth = 65 * kernels::kGatedRows;
    const bool gated = out.size() % kGatedWidth == 0;
    if (kernel == "matvec_q8_0" && variant == "split" && gated) out[0] = 1e9f;
  };
  std::vector<std::string> variants;
  request.outcome = [&](const ProbeOutcome& outcome) {
    if (outcome.check == "matvec_q8_0") variants.push_back(outcome.variant + outcome.failure);
  };
  const ProbeReport report = run_probe(request);
  EXPECT_THAT(variants, ElementsAre("split", "panel"));
  EXPECT_TRUE(report.checked.contains("matvec_q8_0"));
  EXPECT_THAT(report.disabled.names(), ElementsAre("matvec_q8_0:split"));
}

TEST_F(ProbeTest, WhatDoesTheSameInMoreDispatchesTakesOver) {
  ProbeRequest request = small_request();
  request.known.checked = {"rms_norm", "sample"};
  request.attention = {kSliding};
  request.experts = {{GgmlType::q4_0, LinearClass::f32}};
  request.corrupt = [](std::string_view kernel, std::string_view, std::span<float> out) {
    if (kernel == "attention_merged" || kernel == "expert_seam") out[out.size() / 2] += 3;
  };
  const ProbeReport report = run_probe(request);
  EXPECT_FALSE(report.disabled.allows("attention_merged", "portable"));
  EXPECT_FALSE(report.disabled.allows("expert_seam", "portable"));
  EXPECT_TRUE(report.disabled.allows("attention_split", "portable"));
  EXPECT_THAT(report.warnings,
              ::testing::IsSupersetOf({HasSubstr(": using kernel attention_split"),
                                       HasSubstr(": using kernel expert_inputs")}));
}

/// A difference far below the bound, in passes of several columns alone.
TEST_F(ProbeTest, AColumnThatDependsOnItsCompanyIsSeen) {
  caps_.is_cpu = false;
  ProbeRequest request = small_request();
  bool changed = false;
  request.corrupt = [&](std::string_view kernel, std::string_view variant, std::span<float> out) {
    constexpr size_t kWidth = 1056;
    if (kernel != "rms_norm" || variant != "workgroup" || out.size() != 5 * kWidth) return;
    out[2 * kWidth + 7] = std::nextafter(out[2 * kWidth + 7], 100.0f);
    changed = true;
  };
  const ProbeReport report = run_probe(request);
  EXPECT_TRUE(changed);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_THAT(report.warnings[0], HasSubstr("kernel rms_norm variant workgroup: a column depends"));
}

TEST_F(ProbeTest, AClassThatFailsForOneNumberOfColumnsIsOffForAll) {
  const MatrixKind swar{GgmlType::q4_0, LinearClass::int8_swar};
  ProbeRequest request;
  request.matrices = {swar};
  request.tables = {swar};
  size_t n_wrong = 0;
  request.corrupt = [&](std::string_view kernel, std::string_view, std::span<float> out) {
    const bool three_columns = out.size() == 3 * (64 * kernels::kPanelRows + 6);
    if (kernel != "matvec_q4_0_pairs" || !three_columns) return;
    out[11] = std::numeric_limits<float>::quiet_NaN();
    ++n_wrong;
  };
  const ProbeReport report = run_probe(request);
  EXPECT_EQ(n_wrong, 1u);
  EXPECT_THAT(report.disabled_classes, ElementsAre(swar));
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_THAT(report.warnings[0], HasSubstr("max error inf"));
  EXPECT_THAT(report.warnings[0], HasSubstr("class int8_swar is off for q4_0 matrices, using f32"));
  EXPECT_TRUE(report.checked.contains("matvec_q4_0"));
  EXPECT_TRUE(report.checked.contains("embed_q4_0"));
}

TEST_F(ProbeTest, WithoutAVariantLeftNothingIsComputed) {
  ProbeRequest request = small_request();
  request.corrupt = [](std::string_view kernel, std::string_view, std::span<float> out) {
    if (kernel == "geglu") out[0] = 1e9f;
  };
  const auto report = probe(*gpu_.device, *gpu_.pipelines, request);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::device);
  EXPECT_THAT(report.error().message, HasSubstr("kernel geglu variant portable: wrong results"));
}

TEST_F(ProbeTest, SeveralDevicesFindWhatOneFinds) {
  caps_.is_cpu = false;  // there is more than one variant
  const MatrixKind swar{GgmlType::q4_0, LinearClass::int8_swar};
  ProbeRequest request = small_request();
  request.known.warnings = {"known before"};
  request.matrices = {swar, {GgmlType::q8_0, LinearClass::f32}};
  request.tables = {{GgmlType::q6_k, LinearClass::f32}};
  request.corrupt = [](std::string_view kernel, std::string_view variant, std::span<float> out) {
    const bool wrong_norm = kernel == "rms_norm" && variant == "workgroup";
    if (wrong_norm || kernel == "matvec_q4_0_pairs") out[0] += 1e9f;
  };
  std::vector<std::string> outcomes;
  std::vector<double> fractions;
  request.outcome = [&](const ProbeOutcome& outcome) {
    outcomes.push_back(outcome.check + " " + outcome.variant + " " + outcome.failure);
  };
  request.progress = [&](double fraction) { fractions.push_back(fraction); };
  const auto both = probe_on_two(request);
  ASSERT_TRUE(both.ok()) << both.error().message;
  EXPECT_TRUE(std::ranges::is_sorted(fractions));
  EXPECT_EQ(fractions.back(), 1.0);
  const std::vector<std::string> outcomes_of_both = std::exchange(outcomes, {});

  const ProbeReport one = run_probe(request);
  EXPECT_THAT(one.disabled_classes, ElementsAre(swar));
  EXPECT_EQ(one.warnings.size(), 3u);
  EXPECT_EQ(both->disabled.names(), one.disabled.names());
  EXPECT_EQ(both->disabled_classes, one.disabled_classes);
  EXPECT_EQ(both->warnings, one.warnings);
  EXPECT_EQ(both->checked, one.checked);
  EXPECT_EQ(both->n_run, one.n_run);
  EXPECT_THAT(outcomes_of_both, UnorderedElementsAreArray(outcomes));

  request.known = one;
  fractions.clear();
  const auto nothing = probe_on_two(request);
  ASSERT_TRUE(nothing.ok()) << nothing.error().message;
  EXPECT_EQ(nothing->n_run, 0u);
  EXPECT_THAT(fractions, ElementsAre());
}

TEST_F(ProbeTest, OneDeviceInTroubleDoesNotKeepTheOtherFromItsChecks) {
  ProbeRequest request = small_request();
  request.matrices = {{GgmlType::q8_0, LinearClass::f32}};
  request.corrupt = [](std::string_view kernel, std::string_view, std::span<float> out) {
    if (kernel == "geglu") out[0] = 1e9f;
  };
  std::set<std::string> passed;
  request.outcome = [&](const ProbeOutcome& outcome) {
    if (outcome.failure.empty()) passed.insert(outcome.check);
  };
  const auto report = probe_on_two(request);
  ASSERT_FALSE(report.ok());
  EXPECT_THAT(report.error().message, HasSubstr("kernel geglu variant portable: wrong results"));
  EXPECT_TRUE(passed.contains("matvec_q8_0"));
}

TEST_F(ProbeTest, TheSecondStartReadsTheCache) {
  caps_.is_cpu = false;
  ProbeRequest request = small_request();
  request.cache_file = path_;
  request.corrupt = [](std::string_view kernel, std::string_view variant, std::span<float> out) {
    if (kernel == "rms_norm" && variant == "workgroup") out[0] += 1;
  };
  const ProbeReport first = run_probe(request);
  EXPECT_GT(first.n_run, 0u);
  request.corrupt = nullptr;
  const uint64_t n_submits = gpu_.device->counters().submits;
  const ProbeReport second = run_probe(request);
  EXPECT_EQ(gpu_.device->counters().submits, n_submits);
  EXPECT_EQ(second.n_run, 0u);
  EXPECT_EQ(second.checked, first.checked);
  EXPECT_EQ(second.warnings, first.warnings);
  EXPECT_EQ(second.disabled.names(), first.disabled.names());

  request.matrices.insert({GgmlType::bf16, LinearClass::f32});  // another model: only what is new
  EXPECT_EQ(run_probe(request).n_run, 2u);
  caps_.n_compute_units += 1;  // other capabilities: everything
  EXPECT_GT(run_probe(request).n_run, 2u);
}

TEST_F(ProbeTest, ACacheOfAnotherDriverOrADamagedOneIsIgnored) {
  ProbeReport report;
  report.disabled.add("rms_norm", "workgroup");
  report.disabled_classes = {{GgmlType::q4_0, LinearClass::int8_dot}};
  report.warnings = {"not UTF-8: \xff"};
  report.checked = {"rms_norm"};
  vk::DeviceSnapshot snapshot = gpu_.device->snapshot();
  const std::string key = probe_key(snapshot, caps_);
  ASSERT_TRUE(write_probe_cache(path_, key, report).ok());
  const ProbeReport same = read_probe_cache(path_, key);
  EXPECT_EQ(same.disabled.names(), report.disabled.names());
  EXPECT_EQ(same.disabled_classes, report.disabled_classes);
  EXPECT_EQ(same.checked, report.checked);
  EXPECT_EQ(same.warnings.size(), 1u);

  ++snapshot.driver_version;
  EXPECT_TRUE(read_probe_cache(path_, probe_key(snapshot, caps_)).checked.empty());
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 5);
  EXPECT_TRUE(read_probe_cache(path_, key).checked.empty());
  std::ofstream(path_) << R"({"key": 7, "checked": {"a": 1}})";
  EXPECT_TRUE(read_probe_cache(path_, key).checked.empty());
}

/// What a kernel that mixes up the scales of two rows within one block would compute.
TEST(ProbeBounds, SeeASwappedScale) {
  for (const MatrixKind& kind : kernels::matrix_kinds()) {
    const formats::GgmlTraits& traits = formats::traits(kind.type);
    if (traits.block_elems == 1) continue;
    SCOPED_TRACE(traits.name);
    const uint64_t width = traits.block_elems > 32 ? 3 * traits.block_elems : 288;
    std::vector<std::byte> rows = probe_rows(kind.type, 2, width, 9);
    const std::vector<float> x = probe_activations(width, 10);
    const kernels::reference::Matrix matrix{kind, 2, width, rows};
    const auto right = kernels::reference::linear(matrix, x);
    const auto halves = formats::half_offsets(kind.type);
    const auto scale = rows.begin() + (halves.empty() ? 0 : halves[0]);
    std::swap_ranges(scale, scale + (halves.empty() ? 1 : 2),
                     scale + static_cast<std::ptrdiff_t>(rows.size() / 2));
    const auto wrong = kernels::reference::linear(matrix, x);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_GT(std::abs(wrong.values[i] - right.values[i]), 10 * right.bounds[i]);
    }
  }
}

TEST(EngineProbe, RunsOnceForADriver) {
  const auto folder = std::filesystem::temp_directory_path() /
                      ("kimberlite-probe-" + std::to_string(std::random_device{}()));
  std::filesystem::create_directory(folder);
  const std::string path = (folder / "tiny.gguf").string();
  const auto shape = synthetic::find_shape("tiny12");
  ASSERT_TRUE(synthetic::write_model(*shape, 1, GgmlType::q4_0, path).ok());
  EngineOptions options;
  options.cache_dir = folder.string();
  std::vector<double> fractions;
  options.progress = [&](std::string_view what, double fraction) {
    if (what == "checking the driver") fractions.push_back(fraction);
  };
  const auto submits = [&] {
    const auto engine = Engine::open(path, options);
    EXPECT_TRUE(engine.ok()) << engine.error().message;
    if (!engine.ok()) return uint64_t{0};
    EXPECT_THAT((*engine)->warnings(), ElementsAre());
    // The same again costs nothing.
    const uint64_t before = (*engine)->device().counters().submits;
    EXPECT_TRUE((*engine)->check_kernels(kernels::KvType::f16).ok());
    EXPECT_EQ((*engine)->device().counters().submits, before);
    return before;
  };
  const uint64_t first = submits();
  EXPECT_GE(fractions.size(), 2u);
  EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
  EXPECT_LT(submits(), first);
  std::filesystem::remove_all(folder);
}

TEST(EngineProbe, AClassThatIsOffIsNotUsed) {
  const vk::Caps caps = kimberlite::testing::Gpu::get().device->caps();
  model::LinearPolicy policy;
  for (const MatrixKind& kind : kernels::matrix_kinds()) {
    const LinearClass best = policy.pick(kind.type, 4096, 4096, caps);
    EXPECT_EQ(best, kernels::pick_linear_class(kind.type, 4096, 4096, caps, false));
    policy.disabled = {{kind.type, best}};
    EXPECT_EQ(policy.pick(kind.type, 4096, 4096, caps), LinearClass::f32);
    policy.disabled.clear();
  }
}

}  // namespace
}  // namespace kimberlite::runtime
