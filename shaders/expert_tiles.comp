#version 450
// Slots sorted by expert and cut into tiles of one expert each. Slot s is the s % n_used-th expert
// of column s / n_used; slots of one expert stay in order.
//
//   experts  u32 [n_slots]           expert_route.comp
//   tiles    ExpertTile [n_tiles]    the rest has count 0
//   slots    u32 [n_slots]
//
// Grid: one workgroup; an invocation has every WORKGROUP-th expert. Integers only.
#extension GL_GOOGLE_include_directive : require

#include "experts.h"
#include "matvec.h"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { ExpertTilesPush p; };
layout(binding = 0, std430) readonly buffer Experts { uint experts[]; };
layout(binding = 1, std430) writeonly buffer Tiles { ExpertTile tiles[]; };
layout(binding = 2, std430) writeonly buffer Slots { uint slots[]; };

shared uint counts[kMaxExperts];

uint tiles_of(uint count) { return (count + p.tile_columns - 1) / p.tile_columns; }

void write_expert(uint expert, uint first_slot, uint first_tile) {
  uint n = 0;
  for (uint slot = 0; slot < p.n_slots; ++slot) {
    if (experts[slot] != expert) continue;
    slots[first_slot + n] = slot;
    ++n;
  }
  for (uint i = 0; i * p.tile_columns < n; ++i) {
    const uint begin = i * p.tile_columns;
    tiles[first_tile + i] = ExpertTile(expert, first_slot + begin, min(p.tile_columns, n - begin));
  }
}

void main() {
  for (uint e = gl_LocalInvocationIndex; e < p.n_experts; e += gl_WorkGroupSize.x) {
    uint n = 0;
    for (uint slot = 0; slot < p.n_slots; ++slot) n += experts[slot] == e ? 1u : 0u;
    counts[e] = n;
  }
  barrier();
  uint first_slot = 0, first_tile = 0;  // of expert e
  uint e = 0;
  for (uint own = gl_LocalInvocationIndex; own < p.n_experts; own += gl_WorkGroupSize.x) {
    for (; e < own; ++e) {
      first_slot += counts[e];
      first_tile += tiles_of(counts[e]);
    }
    if (counts[own] > 0) write_expert(own, first_slot, first_tile);
  }
  for (; e < p.n_experts; ++e) first_tile += tiles_of(counts[e]);
  for (uint i = first_tile + gl_LocalInvocationIndex; i < p.n_tiles; i += gl_WorkGroupSize.x) {
    tiles[i] = ExpertTile(0, 0, 0);
  }
}
