#include "kernels/packed_matrix.hpp"

#include <algorithm>

#include "base/numeric.hpp"
#include "shaders/common/coded.h"

namespace kimberlite::kernels {

using formats::GgmlType;

namespace {

struct StepUnits {
  uint64_t elements;
  uint64_t codes;   // units of one row
  uint64_t scales;  // units of the panel
};

StepUnits step_units(GgmlType type, LinearClass linear_class) {
  if (const std::optional<uint32_t> format = find_coded_format(type, linear_class)) {
    const uint64_t n_blocks = shaders::coded_blocks(*format);
    return {32 * n_blocks, n_blocks * shaders::coded_bits(*format) / 4,
            shaders::coded_scale_units(*format)};
  }
  switch (type) {
    case GgmlType::f32:
      return {32, 8, 0};
    case GgmlType::f16:
    case GgmlType::bf16:
      return {32, 4, 0};
    case GgmlType::q8_0:
      return {32, 2, 8};
    case GgmlType::q4_0:
      return {32, 1, 8};
    case GgmlType::q4_k:
      return {256, 8, 64};
    case GgmlType::q6_k:
      return {256, 12, 72};
    default:
      return {0, 0, 0};
  }
}

bool class_fits(GgmlType type, LinearClass linear_class) {
  const bool is_q4 = type == GgmlType::q4_0 || type == GgmlType::q4_k;
  switch (linear_class) {
    case LinearClass::f32:
      return true;
    case LinearClass::int8_dot:
      return is_q4 || type == GgmlType::q8_0 || find_coded_format(type, linear_class).has_value();
    case LinearClass::int8_swar:
      return is_q4;
  }
  return false;
}

}  // namespace

bool can_pack(GgmlType type) { return step_units(type, LinearClass::f32).elements != 0; }

const char* linear_class_text(LinearClass linear_class) {
  switch (linear_class) {
    case LinearClass::f32:
      return "f32";
    case LinearClass::int8_dot:
      return "int8_dot";
    case LinearClass::int8_swar:
      return "int8_swar";
  }
  return "?";
}

LinearClass pick_linear_class(GgmlType type, uint64_t /*n_rows*/, uint64_t /*n_cols*/,
                              const vk::Caps& caps, bool precise) {
  if (precise) return LinearClass::f32;
  // Without texel loads SWAR loses to float32: SwiftShader, 1.6 against 2.3 Gw/s (Q4_0, 3840^2).
  const bool swar = caps.is_cpu && caps.wide_load == vk::WideLoad::texel && caps.subgroup_size >= 8;
  if (swar && class_fits(type, LinearClass::int8_swar)) return LinearClass::int8_swar;
  if (!caps.is_cpu && caps.has_int8_dot && class_fits(type, LinearClass::int8_dot)) {
    return LinearClass::int8_dot;
  }
  return LinearClass::f32;
}

std::vector<uint64_t> PackedLayout::range_bytes() const {
  std::vector<uint64_t> bytes;
  for (const ShardLayout& shard : shards) {
    bytes.push_back(shard.codes_bytes);
    if (shard.scales_bytes != 0) bytes.push_back(shard.scales_bytes);
  }
  return bytes;
}

PackedLayout plan_packed(GgmlType type, uint64_t n_rows, uint64_t n_cols, const vk::Caps& caps,
                         LinearClass linear_class) {
  KL_CHECK(can_pack(type), "a type that kernels cannot read");
  KL_CHECK(class_fits(type, linear_class), "a class that the type does not have");
  KL_CHECK(n_rows > 0 && n_cols > 0, "an empty matrix");
  const StepUnits units = step_units(type, linear_class);
  PackedLayout layout;
  layout.type = type;
  layout.linear_class = linear_class;
  layout.n_rows = n_rows;
  layout.n_cols = n_cols;
  layout.n_steps = div_up(n_cols, units.elements);
  layout.codes_panel_bytes = layout.n_steps * units.codes * kPanelRows * 16;
  layout.scales_panel_bytes = layout.n_steps * units.scales * 16;

  const uint64_t panel_bytes = std::max(layout.codes_panel_bytes, layout.scales_panel_bytes);
  const uint64_t max_panels = caps.max_wide_bytes() / panel_bytes;
  KL_CHECK(max_panels > 0, "64 rows exceed what one binding may span");
  const uint64_t n_panels = div_up(n_rows, kPanelRows);
  const uint64_t n_shards = div_up(n_panels, max_panels);
  const uint64_t shard_panels = div_up(n_panels, n_shards);  // even shards keep the device even
  for (uint64_t panel = 0; panel < n_panels; panel += shard_panels) {
    const uint64_t n = std::min(shard_panels, n_panels - panel);
    const uint64_t first_row = panel * kPanelRows;
    layout.shards.push_back({first_row, std::min(n * kPanelRows, n_rows - first_row),
                             n * layout.codes_panel_bytes, n * layout.scales_panel_bytes});
  }
  return layout;
}

uint64_t PackedMatrix::n_bytes() const {
  uint64_t bytes = 0;
  for (const Shard& shard : shards) bytes += shard.codes.n_bytes + shard.scales.n_bytes;
  return bytes;
}

PackedMatrix make_packed_matrix(const PackedLayout& layout,
                                std::span<const vk::BufferRange> ranges) {
  KL_CHECK(ranges.size() == layout.range_bytes().size(), "ranges of another layout");
  PackedMatrix matrix{layout.type,   layout.linear_class, layout.n_rows,
                      layout.n_cols, layout.n_steps,      {}};
  size_t next = 0;
  const auto take = [&](uint64_t n_bytes) {
    if (n_bytes == 0) return graph::Tensor{};
    return graph::Tensor::of(ranges[next++], graph::DType::wide, graph::Shape{n_bytes / 16});
  };
  for (const ShardLayout& shard : layout.shards) {
    Shard packed{shard.first_row, shard.n_rows, take(shard.codes_bytes), {}};
    packed.scales = take(shard.scales_bytes);
    matrix.shards.push_back(packed);
  }
  return matrix;
}

}  // namespace kimberlite::kernels
