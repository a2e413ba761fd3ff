// Who of several workgroups (WORKGROUP_ARRIVALS) or subgroups, all lanes of which call, is the last
// one to have finished its share of some work. It may read what all of them have stored, through
// buffers that are `coherent`. The counter is 0 before and after (graph::Graph::counters).
//
// Includer: declares the coherent buffer `counters` of u32 and enables
// GL_KHR_shader_subgroup_arithmetic.
uint count_arrival(uint counter, uint n) {
  memoryBarrierBuffer();  // what this invocation has learned of others' stores comes before
  const bool is_last = atomicAdd(counters[counter], 1u) + 1 == n;
  if (is_last) counters[counter] = 0;  // nobody else will look
  memoryBarrierBuffer();
  return is_last ? 1u : 0u;
}

#ifdef WORKGROUP_ARRIVALS
shared uint last_arrival;

bool is_last_arrival(uint counter, uint n) {
  memoryBarrierBuffer();
  barrier();
  if (gl_LocalInvocationIndex == 0) last_arrival = count_arrival(counter, n);
  barrier();
  memoryBarrierBuffer();
  return last_arrival != 0;
}
#else
bool is_last_arrival(uint counter, uint n) {
  memoryBarrierBuffer();
  subgroupBarrier();
  uint is_last = 0;
  if (subgroupElect()) is_last = count_arrival(counter, n);
  is_last = subgroupMax(is_last);
  memoryBarrierBuffer();
  return is_last != 0;
}
#endif
