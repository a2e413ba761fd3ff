// find_pick: the best of a column's chunks. Declares binding 2. The same in every invocation.
layout(binding = 2, std430) readonly buffer Picks { uvec2 picks[]; };

// (order_key of the score, ~id); (0, 0) where the column has no candidate.
uvec2 find_pick(uint column) {
  uvec2 best = uvec2(0, 0);
  for (uint i = gl_SubgroupInvocationID; i < p.n_chunks; i += gl_SubgroupSize) {
    const uvec2 pick = picks[column * p.n_chunks + i];
    if (pick.x > best.x || (pick.x == best.x && pick.y > best.y)) best = pick;
  }
  const uint key = subgroupMax(best.x);
  return uvec2(key, subgroupMax(best.x == key ? best.y : 0));
}
