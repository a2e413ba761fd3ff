// Counts the rounds that the loops of an invocation get, a loop of loops and one after it.
#version 450
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint n_outer, n_inner, n_after; };
layout(binding = 0) buffer Rounds { uint rounds[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  for (uint outer = 0; outer < n_outer; ++outer) {
    for (uint inner = 0; inner < n_inner; ++inner) rounds[2 * i] += 1;
  }
  for (uint after = 0; after < n_after; ++after) rounds[2 * i + 1] += 1;
}
