#version 450
// Sampling 7 of 7: the sequence moves on by the token that its column draws.
//
//   columns  Column [n]                        becomes the next step's column
//   states   SequenceState [n_sequences]       position, n_emitted, done
//   picks    uvec2 [n, n_chunks]
//   counts   u32 [n_sequences, vocab]
//   ring     u32 [n_sequences, ring_capacity]  token i at i % ring_capacity
//   reports  SequenceReport [n_sequences]
//
// The token gets the position after its column's. A column whose sequence is done becomes inactive:
// its last token, a stop id included, is in the ring but is never fed to the model.
//
// Grid: x = column, one subgroup; every column has a sequence of its own.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#define SEQUENCE_ACCESS
#include "common/sample_column.glsl"
#include "common/sample_result.glsl"

layout(binding = 3, std430) buffer Counts { uint counts[]; };
layout(binding = 4, std430) writeonly buffer Ring { uint ring[]; };
layout(binding = 5, std430) writeonly buffer Reports { SequenceReport reports[]; };

bool is_stop(uint sequence, uint token) {
  for (uint i = 0; i < min(states[sequence].n_stop, kMaxStopIds); ++i) {
    if (states[sequence].stop[i] == token) return true;
  }
  return false;
}

void emit(uint column, uint sequence, uint token) {
  const uint n_emitted = states[sequence].n_emitted;
  ring[sequence * p.ring_capacity + n_emitted % p.ring_capacity] = token;
  counts[sequence * p.vocab + token] += 1;

  const uint position = columns[column].position + 1;
  uint done = kRunning;
  if (position + 1 >= states[sequence].context_limit) done = kDoneContextLimit;
  if (n_emitted + 1 >= states[sequence].token_limit) done = kDoneTokenLimit;
  if (is_stop(sequence, token)) done = kDoneStopId;
  states[sequence].position = position + 1;
  states[sequence].n_emitted = n_emitted + 1;
  states[sequence].done = done;
  columns[column] = Column(token, position, sequence, done == kRunning ? 1 : 0);
  reports[sequence] = SequenceReport(n_emitted + 1, done, position + 1, token);
}

void main() {
  const uint column = gl_WorkGroupID.x;
  if (!column_runs(column)) return;
  const uint sequence = columns[column].sequence;
  const uvec2 pick = find_pick(column);
  if (!subgroupElect()) return;
  if (pick.x != 0) {
    emit(column, sequence, ~pick.y);
  } else {
    states[sequence].done = kDoneNoCandidate;
    columns[column].is_active = 0;
    reports[sequence].done = kDoneNoCandidate;
  }
}
