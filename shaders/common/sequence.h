// What one conversation needs on the device, so that a replayed decode step finds its parameters in
// memory and leaves its result there. The host writes a SequenceState when a request starts
// (kernels/sample.hpp derives the sampling fields); sample_advance.comp moves it on.
#ifndef KL_SEQUENCE_H
#define KL_SEQUENCE_H
#include "types.h"
KL_STRUCTS_BEGIN

// SequenceState::done
const u32 kRunning = 0;
const u32 kDoneStopId = 1;        // the last token is one of the stop ids
const u32 kDoneTokenLimit = 2;    // token_limit tokens were emitted
const u32 kDoneContextLimit = 3;  // the next token's position would be context_limit
const u32 kDoneNoCandidate = 4;   // every logit is -inf or NaN: nothing was emitted

const u32 kMaxStopIds = 8;
const u32 kTopPOff = 0xffffffffu;
const f32 kMinPOff = -1.0e30f;

struct SequenceState {
  u32 position;   // of the next token to be emitted
  u32 n_emitted;  // tokens written to the ring so far
  u32 token_limit;
  u32 context_limit;  // every token's position stays below
  u32 done;
  u32 seed_low;
  u32 seed_high;
  u32 n_stop;
  u32 stop[8];
  f32 inverse_temperature;  // 0: greedy
  u32 top_k;                // 0: off
  u32 top_p_scaled;         // top_p * 2^32, kTopPOff: off
  f32 log_min_p;            // kMinPOff: off
  f32 repeat;               // negative logits of seen tokens are multiplied by this
  f32 inverse_repeat;       // positive ones by this
  f32 presence;
  f32 frequency;
};
CHECK_PUSH(SequenceState, 96)

// What the host reads after a step, in host-visible memory.
struct SequenceReport {
  u32 n_emitted;
  u32 done;
  u32 position;
  u32 last_token;
  u32 n_drafts;    // active drafts of the last pass; 0 in a plain step
  u32 n_accepted;  // the first ones, which are what was sampled; one that ends the sequence counts
};
CHECK_PUSH(SequenceReport, 24)
KL_STRUCTS_END
#endif
