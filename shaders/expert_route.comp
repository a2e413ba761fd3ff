#version 450
// Which experts a column takes and how much each counts (common/expert_choice.glsl).
//
//   scores   f32 [n, n_experts]   NaN counts as the lowest
//   scale    f32 [n_experts]       a dummy without HAS_SCALE
//   experts  u32 [n, n_used]
//   weights  f32 [n, n_used]
//   tiles    ExpertTile [n * n_used]   OWN_TILES: each slot is a tile, in its own order
//   slots    u32 [n * n_used]          else dummies (expert_tiles.comp writes them)
//
// Grid: x = column; one subgroup has a column.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#include "experts.h"
#include "matvec.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool OWN_TILES = false;
layout(constant_id = 2) const bool HAS_SCALE = true;
layout(push_constant, std430) uniform Push { ExpertRoutePush p; };
layout(binding = 0, std430) readonly buffer Scores { float scores[]; };
layout(binding = 1, std430) readonly buffer Scale { float scale[]; };
layout(binding = 2, std430) buffer Experts { uint experts[]; };
layout(binding = 3, std430) buffer Weights { float weights[]; };
layout(binding = 4, std430) writeonly buffer Tiles { ExpertTile tiles[]; };
layout(binding = 5, std430) writeonly buffer Slots { uint slots[]; };

float read_score(uint column, uint expert) { return scores[column * p.n_experts + expert]; }
#include "common/expert_choice.glsl"

void main() { choose_experts(gl_WorkGroupID.x); }
