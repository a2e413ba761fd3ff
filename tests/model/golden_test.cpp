// The decoder against the official implementation on tiny models with the real structure.
#include "support/golden.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/kv_layout.hpp"
#include "model/decoder.hpp"
#include "model_fixture.hpp"

namespace kimberlite::testing {
namespace {

constexpr const char* kModels[] = {"tiny12", "tiny12-odd", "tiny12-k", "tiny31"};

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    if (!(difference <= worst)) worst = difference;  // NaN counts as worst
  }
  return worst;
}

class GoldenTest : public ::testing::TestWithParam<const char*> {
 protected:
  static runtime::EngineOptions precise() {
    runtime::EngineOptions options;
    options.precise = true;
    return options;
  }
  Golden golden_ = require_value(Golden::load(GetParam()));
};

TEST_P(GoldenTest, LogitsAtEveryPositionAgree) {
  TinyModel model(GetParam(), golden_.seed, formats::GgmlType::f32, precise());
  DecoderRun run(model, kernels::KvType::f32);
  for (size_t position = 0; position < golden_.tokens.size(); ++position) {
    const auto logits = run.columns({golden_.tokens[position]}, static_cast<uint32_t>(position));
    ASSERT_LE(max_difference(logits, golden_.logits().row(position)), 1e-3) << position;
  }
}

std::string test_name(const ::testing::TestParamInfo<const char*>& param) {
  std::string name = param.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Models, GoldenTest, ::testing::ValuesIn(kModels), test_name);

}  // namespace
}  // namespace kimberlite::testing
