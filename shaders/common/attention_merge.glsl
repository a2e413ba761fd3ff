// The sum over the splits of a head, in their order:
//
//   y = sum_s exp(m_s - m) a_s / sum_s exp(m_s - m) l_s,   m = max m_s
//
// Accumulation: float32, precise. Source: Dao et al. 2023, "Flash-Decoding".
//
// Includer: declares the buffers `partial` (a_s) and `state` (m_s, l_s; l_s = 0 where a split had no
// keys) and enables GL_KHR_shader_subgroup_arithmetic.

/// m of the `n` splits from `first` on; for all lanes of a subgroup.
float find_split_peak(uint first, uint n) {
  float peak = -3.402823466e38;
  for (uint i = gl_SubgroupInvocationID; i < n; i += gl_SubgroupSize) {
    const vec2 part = state[first + i];
    if (part.y > 0.0) peak = max(peak, part.x);
  }
  return subgroupMax(peak);
}

/// Number `vec` of the head's `head_vecs` vec4; 0 where no split had keys.
vec4 merge_splits(uint first, uint n, float peak, uint head_vecs, uint vec) {
  precise float total = 0.0;
  precise vec4 sum = vec4(0.0);
  for (uint i = 0; i < n; ++i) {
    const vec2 part = state[first + i];
    if (part.y > 0.0) {
      const float scale = exp(part.x - peak);
      total = fma(part.y, scale, total);
      sum = fma(partial[(first + i) * head_vecs + vec], vec4(scale), sum);
    }
  }
  precise const vec4 mean = sum / total;
  return total > 0.0 ? mean : vec4(0.0);
}
