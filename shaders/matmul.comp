#version 450
// Y = X W^T for many columns of int8 activations, by cooperative matrices: the bits of matvec.comp
// with INT8 and SPLIT_K, which has the tensors, the panels of 64 rows and the push constants.
//
//   total[r][c] = sum over a block's 32 elements of w[r][k] * x[c][k]      int32, exact
//   acc[r][c]   = fma(w_scale[r] * x_scale[c], total[r][c], acc[r][c])     float32, precise
//
// or of each half of a block, where scales are for 16 elements (GROUPS = 2).
//
// Grid: x = tile of COLUMNS columns, or slots of an expert, y = panel. A subgroup is one of the
// SPLITS parts of K and has the whole tile: 64 x COLUMNS accumulators in matrices of MATRIX_M x
// MATRIX_N. It stages the codes of a block in shared memory of its own and needs no other subgroup
// before the sums of the splits are added. What belongs to a row or a column is loaded as a matrix
// whose columns or rows lie at a stride of 0, so that no lane needs to know which elements it has.
// Source: VK_KHR_cooperative_matrix; int8 products with a scale for each block as in MMQ of
// llama.cpp's CUDA back end.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require

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
layout(constant_id = 11) const uint MATRIX_M = 16;  // 8 or 16 rows
layout(constant_id = 12) const uint MATRIX_N = 16;  // columns, a divisor of COLUMNS
layout(constant_id = 13) const uint MATRIX_K = 32;  // 8, 16 or 32 elements
layout(constant_id = 14) const uint GROUPS = 1;     // of a block, each with factors of its own
layout(constant_id = 15) const bool HAS_LEAST = false;  // a minimum is taken from each weight

#define SPLIT_K
#include "common/panel.glsl"

const uint ROW_TILES = 64 / MATRIX_M;
const uint COLUMN_TILES = COLUMNS / MATRIX_N;
const uint K_TILES = 32 / MATRIX_K;

#include "common/matrix_stage.glsl"

coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>
    acc[ROW_TILES * COLUMN_TILES];

#include "common/matrix_block.glsl"
#define OUTPUTS_CONSTANT 10
#define STORE_COLUMNS MATRIX_N
float split_sum(uint s, uint c, uint row) {
  return uintBitsToFloat(stage[s * STAGE_UNITS + c * 32 + row / 2][row % 2]);
}
#include "common/round_rows.glsl"
#include "common/panel_store.glsl"

void main() {
  find_panel();
  if (EXPERTS && !panel_exists) return;
  find_staged_columns();
  clear_gaps();
  [[unroll]] for (uint i = 0; i < ROW_TILES * COLUMN_TILES; ++i) {
    acc[i] = coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>(0.0);
  }
  const uint n_steps = p.n_steps;
  // All subgroups go through all barriers: llvmpipe lets none pass one alone.
  for (uint first = 0; first < n_steps; first += SPLITS) {
    const uint step = first + split;
    add_step(min(step, n_steps - 1), step < n_steps);
  }
  [[unroll]] for (uint c = 0; c < COLUMN_TILES; ++c) {
    barrier();  // the stage is read no more
    [[unroll]] for (uint r = 0; r < ROW_TILES; ++r) {
      coopMatStore(acc[r * COLUMN_TILES + c], stage, stage_at + r * (MATRIX_M / 2), 32,
                   gl_CooperativeMatrixLayoutColumnMajor);
    }
    barrier();
    store_columns(c * MATRIX_N);
  }
}
