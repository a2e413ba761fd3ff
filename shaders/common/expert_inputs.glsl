// Rows in front of a mixture of experts: those of the dense block (y, y_q) and of the experts
// (experts_y, experts_y_q), in the forms that round_rows.glsl knows.
//
// Includer: declares the four buffers and what round_rows.glsl wants.
bool to_experts = false;
#define STORE_WORD(at, word) \
  if (to_experts) experts_y_q[at] = word; \
  else y_q[at] = word
#include "common/round_rows.glsl"

void store(uint at, vec4 value) {
  if (HAS_FLOATS) y[at] = value;
  if (HAS_CODES) round_block(at / 8, at % 8, value, true);
}

void store_for_experts(uint at, vec4 value) {
  if (HAS_FLOATS) experts_y[at] = value;
  to_experts = true;
  if (HAS_CODES) round_block(at / 8, at % 8, value, true);
  to_experts = false;
}
