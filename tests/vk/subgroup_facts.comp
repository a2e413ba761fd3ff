// Subgroup i of the workgroup writes its size and its number of active lanes.
#version 450
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x_id = 0) in;
layout(binding = 0) writeonly buffer Y { uvec2 y[]; };

void main() {
  const uint n_lanes = subgroupAdd(1u);
  if (subgroupElect())
    y[gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID] = uvec2(gl_SubgroupSize, n_lanes);
}
