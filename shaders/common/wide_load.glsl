// Big read-only data (weights, KV cache) in units of 16 bytes, written once for every way to load
// it: a storage buffer; with WIDE_TEXEL a uniform texel buffer, which lavapipe streams 3 to 5 times
// faster (KernelDesc marks such a binding as wide; the plan picks the module); with WIDE_TABLE
// segments of memory behind a table of their addresses, so that memory can be added while recorded
// commands stay as they are.
//
//   WIDE_BINDING(2, k)       declares binding 2, named k
//   SELECT_WIDE(k, segment)  from here on k is that segment of the table; no table: nothing
//   LOAD_WIDE(k, index)      uvec4: unit `index` of it
#ifdef WIDE_TABLE
// From uvec2 alone: SwiftShader dies of references that are cast or made from 64-bit integers.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer WideUnits {
  uvec4 units[];
};
#define WIDE_BINDING(slot, name)                                                            \
  layout(binding = slot, std430) readonly buffer Wide##slot { uvec2 name##_segments[]; };   \
  uvec2 name;
#define SELECT_WIDE(name, segment) name = name##_segments[segment]
#define LOAD_WIDE(name, index) WideUnits(name).units[index]
#elif defined(WIDE_TEXEL)
#define WIDE_BINDING(slot, name) layout(binding = slot) uniform usamplerBuffer name;
#define SELECT_WIDE(name, segment)
#define LOAD_WIDE(name, index) texelFetch(name, int(index))
#else
#define WIDE_BINDING(slot, name) \
  layout(binding = slot, std430) readonly buffer Wide##slot { uvec4 name[]; };
#define SELECT_WIDE(name, segment)
#define LOAD_WIDE(name, index) name[index]
#endif
