#version 450
// Sampling 6 of 7: the best survivor of every chunk.
//
//   score(id) = (x[id] - best) + gumbel(philox(seed, position of the new token, id))
//   score(id) = x[id]                                                      where greedy
//
//   columns  Column [n]
//   states   SequenceState [n_sequences]
//   cuts     SampleCut [n]
//   chunks   uvec2 [n, n_chunks]   largest candidate's order_key
//   x        f32 [n, vocab]
//   picks    uvec2 [n, n_chunks]   (order_key of the score, ~id); (0, 0): nothing survives
//
// The arg max of x + Gumbel noise is a draw from softmax(x): Gumbel 1954; Maddison et al. 2014, "A*
// sampling". The noise depends on nothing else, so the token is a function of the logits.
//
// Grid: x = chunks, one for each subgroup; y = column. Subgroups of up to 64 invocations.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "common/sample_column.glsl"

layout(binding = 2, std430) readonly buffer Cuts { SampleCut cuts[]; };
layout(binding = 3, std430) readonly buffer Chunks { uvec2 chunks[]; };
layout(binding = 4, std430) readonly buffer X { float x[]; };
layout(binding = 5, std430) writeonly buffer Picks { uvec2 picks[]; };

bool at_least(uvec2 a, uvec2 b) { return a.x > b.x || (a.x == b.x && a.y >= b.y); }

// The better of `best` and the four tokens from `token` on that share a call of philox.
uvec2 better_of_four(uvec2 best, uint token, uint column, uint sequence, bool greedy) {
  const uvec2 cut = uvec2(cuts[column].key, cuts[column].inverse_id);
  const float top = cuts[column].best;
  Random4 random;
  bool drawn = greedy;
  for (uint i = 0; i < 4; ++i, token += 64) {
    if (token >= p.vocab) break;
    const float value = x[column * p.vocab + token];
    if (!at_least(uvec2(order_key(value), ~token), cut)) continue;
    float score = value;
    if (!drawn) {
      random = philox(noise_counter(token), column_of(column).position + 1,
                      states[sequence].seed_low, states[sequence].seed_high);
      drawn = true;
    }
    if (!greedy) {
      precise const float noisy = (value - top) + gumbel(random_word(random, i));
      score = canonical(noisy);
    }
    const uvec2 entry = uvec2(order_key(score), ~token);
    if (at_least(entry, best)) best = entry;
  }
  return best;
}

void main() {
  const uint column = gl_WorkGroupID.y;
  const uint chunk = chunk_index();
  if (chunk >= p.n_chunks || !column_runs(column)) return;
  const uint sequence = column_of(column).sequence;
  const bool greedy = is_greedy(sequence);

  uvec2 best = uvec2(0, 0);
  if (chunks[column * p.n_chunks + chunk].x >= cuts[column].key) {
    const uint end = min((chunk + 1) * kSampleChunk, p.vocab);
    for (uint block = chunk * kSampleChunk; block < end; block += 256) {
      for (uint i = gl_SubgroupInvocationID; i < 64; i += gl_SubgroupSize) {
        best = better_of_four(best, block + i, column, sequence, greedy);
      }
    }
  }
  const uint key = subgroupMax(best.x);
  const uint inverse_id = subgroupMax(best.x == key ? best.y : 0);
  if (subgroupElect()) picks[column * p.n_chunks + chunk] = uvec2(key, inverse_id);
}
