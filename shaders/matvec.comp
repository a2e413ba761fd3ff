#version 450
// y[c][first_row + r] = softcap(scale * sum_k W[r][k] * x[c][k]) for a shard of a packed matrix,
// with float32 activations, or with INT8 those of quant_act.comp; 1 to 8 columns for decode, tiles
// of columns for prefill.
//
//   codes   wide [n_panels, n_steps, units]   src/kernels/packed_matrix.hpp
//   scales  wide [n_panels, n_steps, units]   a dummy where the type has none
//   x       f32 [n_columns, 4 x_units]        INT8: u32 [n_columns, 4 x_units]
//   y       f32 [n_columns, y_stride]          GATED: gelu_tanh(gate) * up, in y, y_q or both
//   y_q     u32                               (common/panel_store.glsl)
//   tiles   ExpertTile [n_tiles]              EXPERTS: else dummies
//   slots   u32 [n_slots]                     sorted by expert
//
// With EXPERTS the rows of many experts follow one another in the matrix, y has a column for every
// slot (a token and one of its experts), and a tile multiplies slots of one expert.
//
// Grid: x = tile of COLUMNS columns (the last one may be wider than what is left), y = workgroup of
// whole panels of 64 rows. A lane has 64 / LANES rows. Accumulation: float32, precise, in the order
// of K; with SPLIT_K (GPUs) SPLITS groups of lanes take every SPLITS-th step and their sums are
// added in order. Neither depends on the number of columns. Source: lanes as rows and 64-row panels, the fastest of the
// shapes measured on lavapipe (2.4 to 3.5 times lanes along K from memory).
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require

#ifdef HAS_DOT
#extension GL_EXT_spirv_intrinsics : require
#endif

#include "matvec.h"
#include "common/tanh.glsl"
#include "common/wide_load.glsl"

layout(push_constant, std430) uniform Push { MatvecPush p; };
WIDE_BINDING(0, codes)
WIDE_WORDS_BINDING(1, scales)
WIDE_BINDING(2, x)
layout(binding = 3, std430) writeonly buffer Y { float y[]; };
layout(binding = 4, std430) readonly buffer Tiles { ExpertTile tiles[]; };
layout(binding = 5, std430) readonly buffer Slots { uint slots[]; };
layout(binding = 6, std430) writeonly buffer Yq { uint y_q[]; };

#include "common/panel.glsl"
#ifdef INT8
#include "common/panel_product_int8.glsl"
#else
#include "common/panel_product.glsl"
#endif
#define OUTPUTS_CONSTANT 10
#include "common/round_rows.glsl"
#ifdef SPLIT_K
#define STORE_COLUMNS COLUMNS
shared float split_sums[SPLITS * ROWS * COLUMNS * LANES];  // [split][g][c][lane]
float split_sum(uint s, uint c, uint row) {
  return split_sums[s * (64 * COLUMNS) + (row / LANES * COLUMNS + c) * LANES + row % LANES];
}
#endif
#include "common/panel_store.glsl"

#ifdef SPLIT_K
void store_panel() {
  [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) {
    split_sums[(split * ROWS * COLUMNS + i) * LANES + lane] = acc[i];
  }
  barrier();
  store_columns(0);
}
#endif

void main() {
  find_panel();
  // A workgroup may have panels that exist beside ones that do not; lanes exchange data within their
  // own panel only. With SPLIT_K a workgroup is one panel.
  if (EXPERTS && !panel_exists) return;
  [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) acc[i] = 0.0;
  const uint n_steps = p.n_steps;  // CPU drivers gather a push constant anew at every use in a loop
  for (uint step = split; step < n_steps; step += SPLITS) add_step(step);
  store_panel();
}
