#version 450
// Drafting: the token that a drafter's logits draw becomes the next column to be verified.
//
//   columns  Column [n]    first_column: the one that was sampled, and the one after it
//   states   SequenceState [n_sequences]
//   picks    uvec2 [1, n_chunks]
//   next     Column [1]    the new column again, where the drafter's next step can bind it
//   drafts   u32 [n - 1]   the token again, where the host reads it; kNoDraft: inactive
//
// The draft is active where its column was, a token was drawn, and the target could emit one there:
// inside the context, and not beyond token_limit. Otherwise it is padding with a valid token and
// position.
//
// Grid: one subgroup.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#define SEQUENCE_ACCESS
#include "common/sample_column.glsl"
#include "common/sample_result.glsl"

layout(binding = 3, std430) writeonly buffer Next { Column next[]; };
layout(binding = 4, std430) writeonly buffer Drafts { uint drafts[]; };

// Tokens that are emitted before the one that the target draws at `position`.
uint n_emitted_before(uint sequence, uint position) {
  return states[sequence].n_emitted + (position + 1 - states[sequence].position);
}

void main() {
  Column draft = column_of(0);
  const uvec2 pick = column_runs(0) ? find_pick(0) : uvec2(0, 0);
  if (!subgroupElect()) return;
  const uint position = draft.position + 1;
  const bool drawn = pick.x != 0;
  const bool fits = position < states[draft.sequence].context_limit;
  const bool wanted =
      n_emitted_before(draft.sequence, position) < states[draft.sequence].token_limit;
  if (drawn) draft.token = ~pick.y;
  if (fits) draft.position = position;
  draft.is_active = drawn && fits && wanted ? 1 : 0;
  columns[p.first_column + 1] = draft;
  next[0] = draft;
  drafts[p.first_column] = draft.is_active != 0 ? draft.token : kNoDraft;
}
