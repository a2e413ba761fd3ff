// reduce_add: the sum of one value over all invocations that work on a row, for any subgroup size.
//
// With WORKGROUP_ROWS a row belongs to a workgroup (GPUs): subgroups add, then every invocation adds
// the partial sums in subgroup order. Without it a row belongs to one subgroup (CPU drivers, where
// a barrier costs microseconds). The order of additions depends on the device alone, never on the
// number of rows, which is what column invariance rests on.
//
// Includer: enables GL_KHR_shader_subgroup_arithmetic.
#ifdef WORKGROUP_ROWS

shared float reduce_partials[64];

float reduce_add(float value) {
  const float partial = subgroupAdd(value);
  barrier();  // the partials of an earlier call have been read
  if (subgroupElect()) reduce_partials[gl_SubgroupID] = partial;
  barrier();
  precise float sum = 0.0;
  for (uint i = 0; i < gl_NumSubgroups; ++i) sum += reduce_partials[i];
  return sum;
}
// Neighbours here are neighbours in a subgroup.
#define ROW_LANE (gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID)
#define ROW_LANES gl_WorkGroupSize.x
#define ROW_INDEX gl_WorkGroupID.x

#else

float reduce_add(float value) { return subgroupAdd(value); }
#define ROW_LANE gl_SubgroupInvocationID
#define ROW_LANES gl_SubgroupSize
#define ROW_INDEX gl_WorkGroupID.x

#endif
