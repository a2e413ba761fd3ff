// The table behind ggml_type.hpp.
#include "formats/ggml_type.hpp"

#include <algorithm>
#include <array>

#include "base/numeric.hpp"
#include "base/result.hpp"

namespace kimberlite::formats {
namespace {

using enum GgmlType;

constexpr std::array kTypes = {
    GgmlTraits{f32, "f32", 1, 4},
    GgmlTraits{f16, "f16", 1, 2},
    GgmlTraits{q4_0, "q4_0", 32, 18},
    GgmlTraits{q4_1, "q4_1", 32, 20},
    GgmlTraits{q5_0, "q5_0", 32, 22},
    GgmlTraits{q5_1, "q5_1", 32, 24},
    GgmlTraits{q8_0, "q8_0", 32, 34},
    GgmlTraits{q8_1, "q8_1", 32, 36},
    GgmlTraits{q2_k, "q2_k", 256, 84},
    GgmlTraits{q3_k, "q3_k", 256, 110},
    GgmlTraits{q4_k, "q4_k", 256, 144},
    GgmlTraits{q5_k, "q5_k", 256, 176},
    GgmlTraits{q6_k, "q6_k", 256, 210},
    GgmlTraits{q8_k, "q8_k", 256, 292},
    GgmlTraits{iq2_xxs, "iq2_xxs", 256, 66},
    GgmlTraits{iq2_xs, "iq2_xs", 256, 74},
    GgmlTraits{iq3_xxs, "iq3_xxs", 256, 98},
    GgmlTraits{iq1_s, "iq1_s", 256, 50},
    GgmlTraits{iq4_nl, "iq4_nl", 32, 18},
    GgmlTraits{iq3_s, "iq3_s", 256, 110},
    GgmlTraits{iq2_s, "iq2_s", 256, 82},
    GgmlTraits{iq4_xs, "iq4_xs", 256, 136},
    GgmlTraits{i8, "i8", 1, 1},
    GgmlTraits{i16, "i16", 1, 2},
    GgmlTraits{i32, "i32", 1, 4},
    GgmlTraits{i64, "i64", 1, 8},
    GgmlTraits{f64, "f64", 1, 8},
    GgmlTraits{iq1_m, "iq1_m", 256, 56},
    GgmlTraits{bf16, "bf16", 1, 2},
    GgmlTraits{tq1_0, "tq1_0", 256, 54},
    GgmlTraits{tq2_0, "tq2_0", 256, 66},
    GgmlTraits{mxfp4, "mxfp4", 32, 17},
    GgmlTraits{nvfp4, "nvfp4", 64, 36},
    GgmlTraits{q1_0, "q1_0", 128, 18},
    GgmlTraits{q2_0, "q2_0", 64, 18},
};

const GgmlTraits* find_by_id(uint32_t id) {
  const auto found = std::ranges::find(kTypes, static_cast<GgmlType>(id), &GgmlTraits::type);
  return found == kTypes.end() ? nullptr : &*found;
}

}  // namespace

std::span<const GgmlTraits> ggml_types() { return kTypes; }

const GgmlTraits& traits(GgmlType type) {
  const GgmlTraits* found = find_by_id(static_cast<uint32_t>(type));
  KL_CHECK(found != nullptr, "not a ggml type");
  return *found;
}

std::optional<GgmlType> find_ggml_type(uint32_t id) {
  const GgmlTraits* found = find_by_id(id);
  return found == nullptr ? std::nullopt : std::optional(found->type);
}

std::optional<GgmlType> find_ggml_type(std::string_view name) {
  const auto found = std::ranges::find(kTypes, name, &GgmlTraits::name);
  return found == kTypes.end() ? std::nullopt : std::optional(found->type);
}

std::optional<uint64_t> row_bytes(GgmlType type, uint64_t n) {
  const GgmlTraits& t = traits(type);
  if (n % t.block_elems != 0) return std::nullopt;
  return checked_mul(n / t.block_elems, t.block_bytes);
}

}  // namespace kimberlite::formats
