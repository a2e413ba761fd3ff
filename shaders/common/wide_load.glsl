// Big read-only data (weights, KV cache) in units of 16 bytes, written once for both ways to load
// it: a storage buffer, or with WIDE_TEXEL a uniform texel buffer, which lavapipe streams 3 to 5
// times faster. KernelDesc marks such a binding as wide; the plan picks the module.
//
//   WIDE_BINDING(2, k)     declares binding 2, named k
//   LOAD_WIDE(k, index)    uvec4: unit `index` of it
#ifdef WIDE_TEXEL
#define WIDE_BINDING(slot, name) layout(binding = slot) uniform usamplerBuffer name;
#define LOAD_WIDE(name, index) texelFetch(name, int(index))
#else
#define WIDE_BINDING(slot, name) \
  layout(binding = slot, std430) readonly buffer Wide##slot { uvec4 name[]; };
#define LOAD_WIDE(name, index) name[index]
#endif
