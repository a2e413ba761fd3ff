// y[i] = sum of the four words of texel i, read through a uniform texel buffer.
#version 450
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint n; } p;
layout(binding = 0) uniform usamplerBuffer x;
layout(binding = 1) writeonly buffer Y { uint y[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i >= p.n) return;
  const uvec4 words = texelFetch(x, int(i));
  y[i] = words.x + words.y + words.z + words.w;
}
