// y[i] = scale * x[i] + add; the workgroup width and `add` are specialisation constants.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const int add = 0;
layout(push_constant) uniform Push { int scale; uint n; } p;
layout(binding = 0) readonly buffer X { int x[]; };
layout(binding = 1) writeonly buffer Y { int y[]; };

void main() {
  const uint i = gl_GlobalInvocationID.x;
  if (i < p.n) y[i] = p.scale * x[i] + add;
}
