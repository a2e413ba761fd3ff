// The sum over the splits of a head, in their order:
//
//   y = sum_s exp(m_s - m) a_s / sum_s exp(m_s - m) l_s,   m = max m_s
//
// Accumulation: float32, precise. Source: Dao et al. 2023, "Flash-Decoding".
//
// Includer: declares the buffers `partial` (a_s) and `state` (m_s, l_s; l_s = 0 and a_s = 0 where a
// split had no keys) and enables GL_KHR_shader_subgroup_arithmetic and _shuffle.
const uint kTogether = 8;  // splits whose loads are in flight together

/// m of the `n` splits from `first` on; for all lanes of a subgroup.
float find_split_peak(uint first, uint n) {
  float peak = -3.402823466e38;
  for (uint i = gl_SubgroupInvocationID; i < n; i += gl_SubgroupSize) {
    const vec2 part = state[first + i];
    if (part.y > 0.0) peak = max(peak, part.x);
  }
  return subgroupMax(peak);
}

/// Number `vec` of the head's `head_vecs` vec4; 0 where no split had keys. For all lanes of a
/// subgroup: each knows a split, which it tells the others.
vec4 merge_splits(uint first, uint n, float peak, uint head_vecs, uint vec) {
  precise float total = 0.0;
  precise vec4 sum = vec4(0.0);
  for (uint block = 0; block < n; block += gl_SubgroupSize) {
    const uint own = block + gl_SubgroupInvocationID;
    const vec2 part = own < n ? state[first + own] : vec2(0.0);
    const float own_scale = part.y > 0.0 ? exp(part.x - peak) : 0.0;
    const uint n_here = min(n - block, gl_SubgroupSize);
    for (uint i = 0; i < n_here; i += kTogether) {
      float weight[kTogether], scale[kTogether];
      float largest = 0.0;
      [[unroll]] for (uint k = 0; k < kTogether; ++k) {
        const uint lane = (i + k) % gl_SubgroupSize;
        const bool exists = i + k < n_here;
        const float other_weight = subgroupShuffle(part.y, lane);
        const float other_scale = subgroupShuffle(own_scale, lane);
        weight[k] = exists ? other_weight : 0.0;
        scale[k] = exists ? other_scale : 0.0;
        largest = max(largest, weight[k]);
      }
      if (largest > 0.0) {
        vec4 a[kTogether];
        [[unroll]] for (uint k = 0; k < kTogether; ++k) {
          a[k] = partial[(first + block + min(i + k, n_here - 1)) * head_vecs + vec];
        }
        // What has no keys adds nothing: zeros to sums that are not negative zeros.
        [[unroll]] for (uint k = 0; k < kTogether; ++k) {
          total = fma(weight[k], scale[k], total);
          sum = fma(a[k], vec4(scale[k]), sum);
        }
      }
    }
  }
  precise const vec4 mean = sum / total;
  return total > 0.0 ? mean : vec4(0.0);
}
