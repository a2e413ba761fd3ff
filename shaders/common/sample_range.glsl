// find_range: the largest and smallest candidate of a column, from the maxima and minima that
// sample_prepare left for each chunk. Declares binding 2. The result is the same in every invocation.
layout(binding = 2, std430) readonly buffer Chunks { uvec2 chunks[]; };

struct LogitRange {
  uint best_key;  // kMinusInfinityKey: no candidate
  float best;
  float scale;  // bins per unit of distance from the best
};

LogitRange find_range(uint column) {
  uint largest = kMinusInfinityKey;
  uint smallest = 0xffffffffu;
  for (uint i = gl_SubgroupInvocationID; i < p.n_chunks; i += gl_SubgroupSize) {
    const uvec2 chunk = chunks[column * p.n_chunks + i];
    largest = max(largest, chunk.x);
    smallest = min(smallest, chunk.y);
  }
  LogitRange range;
  range.best_key = subgroupMax(largest);
  range.best = key_value(range.best_key);
  range.scale = 1.0;
  if (range.best_key > kMinusInfinityKey) {
    range.scale = bin_scale(range.best, key_value(subgroupMin(smallest)));
  }
  return range;
}
