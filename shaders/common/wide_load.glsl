// Big read-only data (weights, KV cache) in units of 16 bytes, written once for every way to load
// it: a storage buffer; with WIDE_TEXEL a uniform texel buffer, which lavapipe streams 3 to 5 times
// faster (KernelDesc marks such a binding as wide; the plan picks the module); with WIDE_TABLE
// segments of memory behind a table of their addresses, so that memory can be added while recorded
// commands stay as they are.
//
//   WIDE_BINDING(2, k)       declares binding 2, named k
//   SELECT_WIDE(k, segment)  from here on k is that segment of the table; no table: nothing
//   LOAD_WIDE(k, index)      uvec4: unit `index` of it
//   LOAD_WORD(k, unit, i)    uint: word i of a unit, of a WIDE_WORDS_BINDING; on GPUs a load of its own,
//                            where i differs from lane to lane and choosing from a unit is not free
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
#define WIDE_WORDS_BINDING(slot, name) WIDE_BINDING(slot, name)
#define LOAD_WIDE(name, index) texelFetch(name, int(index))
#define LOAD_WORD(name, unit, i) LOAD_WIDE(name, unit)[i]
#else
#define WIDE_BINDING(slot, name) \
  layout(binding = slot, std430) readonly buffer Wide##slot { uvec4 name[]; };
#define SELECT_WIDE(name, segment)
#define WIDE_WORDS_BINDING(slot, name) \
  WIDE_BINDING(slot, name)             \
  layout(binding = slot, std430) readonly buffer Words##slot { uint name##_words[]; };
#define LOAD_WIDE(name, index) name[index]
#define LOAD_WORD(name, unit, i) name##_words[(unit) * 4 + (i)]
#endif
