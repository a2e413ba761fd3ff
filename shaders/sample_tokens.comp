#version 450
// Sampling 7 of 7, without advancing: tokens[c] = the token that column c draws.
//
//   columns  Column [n]
//   states   SequenceState [n_sequences]
//   picks    uvec2 [n, n_chunks]
//   tokens   u32 [n]    0 where the column has no candidate; untouched where it does not run
//
// Grid: x = column, one subgroup.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "common/sample_column.glsl"
#include "common/sample_result.glsl"

layout(binding = 3, std430) writeonly buffer Tokens { uint tokens[]; };

void main() {
  const uint column = gl_WorkGroupID.x;
  if (!column_runs(column)) return;
  const uvec2 pick = find_pick(column);
  if (subgroupElect()) tokens[column] = pick.x == 0 ? 0 : ~pick.y;
}
