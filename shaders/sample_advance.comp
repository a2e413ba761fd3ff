#version 450
// Sampling 7 of 7: sequences move on by the tokens that their columns draw.
//
//   columns      Column [n_sequences * kColumns]  the first of each becomes the next step's column
//   states       SequenceState [n_sequences]      position, n_emitted, done
//   picks        uvec2 [n_sequences * kColumns, n_chunks]
//   counts       u32 [n_sequences, vocab]
//   ring         u32 [n_sequences, ring_capacity] token i at i % ring_capacity
//   reports      SequenceReport [n_sequences]
//   hidden       f32 [n_sequences * kColumns, kWidth]  where kWidth is not 0: the model's states
//   hidden_next  f32 [n_sequences, hidden_stride]      from hidden_first on that of the last column that was of use
//
// A sequence has kColumns columns at consecutive positions: its pending token, then drafts. What is
// drawn at a column is emitted; if it is the draft of the next column, that column was computed
// for the right token, and what is drawn there is emitted as well. So a pass emits what as many
// steps would have, and stops where they would.
//
// A token gets the position after its column's. The column of a sequence that is done becomes
// inactive: its last token, a stop id included, is in the ring but is never fed to the model.
//
// Grid: x = sequence in the order of columns. One subgroup where kColumns = 1 and kWidth = 0, else
// several, which share the columns and the elements of a state.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#define SEQUENCE_ACCESS
#include "common/sample_column.glsl"
#include "common/sample_result.glsl"

layout(constant_id = 1) const uint kColumns = 1;
layout(constant_id = 2) const uint kWidth = 0;
layout(binding = 3, std430) buffer Counts { uint counts[]; };
layout(binding = 4, std430) writeonly buffer Ring { uint ring[]; };
layout(binding = 5, std430) writeonly buffer Reports { SequenceReport reports[]; };
layout(binding = 6, std430) readonly buffer Hidden { float hidden[]; };
layout(binding = 7, std430) writeonly buffer HiddenNext { float hidden_next[]; };

shared uvec2 drawn[kSampleColumns];  // picks; (0, 0) as well for columns that do not run
shared uint n_new;                   // tokens that this pass emits

bool is_stop(uint sequence, uint token) {
  for (uint i = 0; i < min(states[sequence].n_stop, kMaxStopIds); ++i) {
    if (states[sequence].stop[i] == token) return true;
  }
  return false;
}

// SequenceState::done after a token.
uint done_after(uint sequence, uint token, uint position, uint n_emitted) {
  if (is_stop(sequence, token)) return kDoneStopId;
  if (n_emitted >= states[sequence].token_limit) return kDoneTokenLimit;
  return position + 1 >= states[sequence].context_limit ? kDoneContextLimit : kRunning;
}

bool is_accepted(uint column, uint token) {
  if (columns[column].is_active == 0) return false;
  if (p.agree != 0) return agree_hash(columns[column].position) < p.agree;
  return columns[column].token == token;
}

uint count_drafts(uint first) {
  uint n = 0;
  while (n + 1 < kColumns && columns[first + n + 1].is_active != 0) ++n;
  return n;
}

// By one invocation. Returns the number of tokens emitted.
uint advance(uint first) {
  Column last = columns[first];
  const uint sequence = last.sequence;
  const uint n_before = states[sequence].n_emitted;
  uint n = 0;
  uint n_accepted = 0;
  uint done = kRunning;
  while (done == kRunning) {
    const uvec2 pick = drawn[n];
    if (pick.x == 0) {
      done = kDoneNoCandidate;
      break;
    }
    last.token = ~pick.y;
    last.position += 1;
    ring[sequence * p.ring_capacity + (n_before + n) % p.ring_capacity] = last.token;
    counts[sequence * p.vocab + last.token] += 1;
    n += 1;
    done = done_after(sequence, last.token, last.position, n_before + n);
    if (n == kColumns || !is_accepted(first + n, last.token)) break;
    n_accepted += 1;
  }
  reports[sequence].n_drafts = count_drafts(first);
  reports[sequence].n_accepted = n_accepted;
  reports[sequence].done = done;
  states[sequence].done = done;
  last.is_active = done == kRunning ? 1 : 0;
  columns[first] = last;
  if (n == 0) return 0;
  reports[sequence].n_emitted = n_before + n;
  reports[sequence].position = last.position + 1;
  reports[sequence].last_token = last.token;
  states[sequence].n_emitted = n_before + n;
  states[sequence].position = last.position + 1;
  return n;
}

void main() {
  const uint first = gl_WorkGroupID.x * kColumns;
  // Before the barrier nothing is written that other subgroups read.
  const bool runs = column_runs(first);
  const uint sequence = columns[first].sequence;
  for (uint i = gl_SubgroupID; i < kColumns; i += gl_NumSubgroups) {
    uvec2 pick = uvec2(0, 0);
    if (column_runs(first + i)) pick = find_pick(first + i);
    if (subgroupElect()) drawn[i] = pick;
  }
  if (kColumns > 1 || kWidth != 0) barrier();
  if (gl_SubgroupID == 0 && subgroupElect()) n_new = runs ? advance(first) : 0;
  if (kWidth == 0) return;
  barrier();
  if (n_new == 0) return;
  const uint row = (first + n_new - 1) * kWidth;
  for (uint i = gl_LocalInvocationIndex; i < kWidth; i += gl_WorkGroupSize.x) {
    hidden_next[sequence * p.hidden_stride + p.hidden_first + i] = hidden[row + i];
  }
}
