#version 450
// Head norms, rotary position and the KV cache write of one layer.
//
//   q = rope(rms(q_raw) * q_norm)   K row = rope(rms(k_raw) * k_norm)   V row = rms(v_raw)
//   rope: y[i] = x[i] cos - x[i + d/2] sin,  y[i + d/2] = x[i + d/2] cos + x[i] sin,  i < n_pairs
//
//   q_raw    f32 [n, n_heads, d]       k_raw, v_raw  f32 [n, n_kv_heads, d], each with a stride
//   q_norm   f32 [d]                   k_norm        f32 [d]
//   columns  Column [n]                table         f32 [2, 512, n_pairs, 2]  kernels/rope_table.hpp
//   q        f32 [n, n_heads, d]       k, v          common/kv_cache.glsl; WIDE_TABLE: uvec2
//            [n_sequences, n_segments], addresses of segments of segment_rows rows
//
// Grid: x = heads (query, K, V in turn) over subgroups, y = column. A head belongs to one subgroup;
// a lane holds 8 values of its lower half and the 8 that they rotate with. Q_ONLY: no K, no V, for
// layers that share another layer's cache. Accumulation: float32, precise, one order for every
// column. Source: Zhang & Sennrich 2019, eq. 4; Su et al. 2021, "RoFormer", 3.4.2, split halves.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#ifdef WIDE_TABLE
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#endif

#include "rope_kv.h"
#include "common/columns.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kLanes = 32;
layout(constant_id = 2) const uint kHeadDim = 256;
layout(constant_id = 3) const uint kKvType = 1;

#include "common/kv_cache.glsl"

layout(push_constant, std430) uniform Push { RopeKvPush p; };
layout(binding = 0, std430) readonly buffer QRaw { vec4 q_raw[]; };
layout(binding = 1, std430) readonly buffer QNorm { vec4 q_norm[]; };
layout(binding = 2, std430) readonly buffer Columns { Column columns[]; };
layout(binding = 3, std430) readonly buffer Table { vec4 table[]; };
layout(binding = 4, std430) writeonly buffer Q { vec4 q[]; };
#ifndef Q_ONLY
layout(binding = 5, std430) readonly buffer KRaw { vec4 k_raw[]; };
layout(binding = 6, std430) readonly buffer VRaw { vec4 v_raw[]; };
layout(binding = 7, std430) readonly buffer KNorm { vec4 k_norm[]; };
#ifdef WIDE_TABLE
layout(buffer_reference, std430, buffer_reference_align = 16) writeonly buffer Rows { uint words[]; };
layout(binding = 8, std430) readonly buffer K { uvec2 k[]; };
layout(binding = 9, std430) readonly buffer V { uvec2 v[]; };
uvec2 segment;  // that the row of this head is in
#else
layout(binding = 8, std430) writeonly buffer K { uint k[]; };
layout(binding = 9, std430) writeonly buffer V { uint v[]; };
#endif
#endif

const uint kHeadVecs = kHeadDim / 4;
const uint kHalfVecs = kHeadDim / 8;
const uint kOctets = kHeadDim / 16;  // of half a head
const uint kQuery = 0u, kKey = 1u, kValue = 2u;

uint raw_row(uint part, uint row) {
  if (part == kQuery) return row * p.q_stride + p.q_first;
  return part == kKey ? row * p.k_stride + p.k_first : row * p.v_stride + p.v_first;
}

#ifdef Q_ONLY
vec4 load_raw(uint part, uint index) { return q_raw[index]; }
vec4 load_norm(uint part, uint index) { return q_norm[index]; }
#else
vec4 load_raw(uint part, uint index) {
  if (part == kQuery) return q_raw[index];
  return part == kKey ? k_raw[index] : v_raw[index];
}
vec4 load_norm(uint part, uint index) {
  if (part == kQuery) return q_norm[index];
  return part == kKey ? k_norm[index] : vec4(1.0);
}

#ifdef WIDE_TABLE
/// Whether the column has a row in the cache; then which one of its segment, which is selected.
bool find_row(Column column, uint part, out uint row) {
  const uint n_segments = (p.n_rows + p.segment_rows - 1) / p.segment_rows;
  const uint index = column.sequence * n_segments + column.position / p.segment_rows;
  row = column.position % p.segment_rows;
  if (column.is_active == 0 || column.position >= p.n_rows) return false;
  segment = part == kKey ? k[index] : v[index];
  return true;
}

void store_word(uint part, uint index, uint word) { Rows(segment).words[index] = word; }
#else
/// Whether the column has a row among those that are bound; then which one of them.
bool find_row(Column column, uint part, out uint row) {
  row = column.sequence * p.n_rows + column.position % p.n_rows - p.first_row;
  return column.is_active != 0 && row < p.n_bound;
}

void store_word(uint part, uint index, uint word) {
  if (part == kKey) k[index] = word;
  else v[index] = word;
}
#endif

/// 8 values, in f32 or f16, into octet `octet` of the head that starts at word `head`.
void store_octet(uint part, uint head, uint octet, vec4 x[2]) {
  [[unroll]] for (uint i = 0; i < 2; ++i) {
    if (kKvType == kKvF32) {
      [[unroll]] for (uint c = 0; c < 4; ++c) {
        store_word(part, head + octet * 8 + i * 4 + c, floatBitsToUint(x[i][c]));
      }
    } else {
      store_word(part, head + octet * 4 + i * 2, packHalf2x16(x[i].xy));
      store_word(part, head + octet * 4 + i * 2 + 1, packHalf2x16(x[i].zw));
    }
  }
}

float largest(vec4 x[2]) {
  const vec4 a = max(abs(x[0]), abs(x[1]));
  return max(max(a.x, a.y), max(a.z, a.w));
}

uint pack_codes(vec4 x, float inverse) {
  const ivec4 c = ivec4(clamp(roundEven(x * inverse), -127.0, 127.0));
  return (uint(c.x) & 255u) | (uint(c.y) & 255u) << 8 | (uint(c.z) & 255u) << 16 |
         (uint(c.w) & 255u) << 24;
}

/// Both octets of a lane in q8_0. Four neighbouring lanes hold one block of 32 in each half.
void store_q8(uint part, uint head, uint octet, vec4 low[2], vec4 high[2], bool enabled) {
  vec2 peak = vec2(largest(low), largest(high));
  peak = max(peak, subgroupShuffle(peak, gl_SubgroupInvocationID ^ 1u));
  peak = max(peak, subgroupShuffle(peak, gl_SubgroupInvocationID ^ 2u));
  const uint scales = packHalf2x16(peak / 127.0);
  const vec2 scale = unpackHalf2x16(scales);
  const vec2 inverse = vec2(scale.x > 0.0 ? 1.0 / scale.x : 0.0, scale.y > 0.0 ? 1.0 / scale.y : 0.0);
  if (!enabled) return;
  [[unroll]] for (uint i = 0; i < 2; ++i) {
    store_word(part, head + octet * 2 + i, pack_codes(low[i], inverse.x));
    store_word(part, head + (octet + kOctets) * 2 + i, pack_codes(high[i], inverse.y));
  }
  if (octet % 4 == 0) store_word(part, head + kCodeUnits * 4 + octet / 4, scales);
}
#endif

/// Rotates 8 pairs by the angle at `position`: table entries of position / 512 and of the rest.
void rotate(uint position, uint octet, inout vec4 low[2], inout vec4 high[2]) {
  const uint coarse = min(position >> 9, 511u) * p.n_pairs / 2 + octet * 4;
  const uint fine = (512 + (position & 511u)) * p.n_pairs / 2 + octet * 4;
  [[unroll]] for (uint i = 0; i < 2; ++i) {
    const vec4 a0 = table[coarse + 2 * i], a1 = table[coarse + 2 * i + 1];
    const vec4 b0 = table[fine + 2 * i], b1 = table[fine + 2 * i + 1];
    const vec4 cos_a = vec4(a0.xz, a1.xz), sin_a = vec4(a0.yw, a1.yw);
    const vec4 cos_b = vec4(b0.xz, b1.xz), sin_b = vec4(b0.yw, b1.yw);
    precise const vec4 c = fma(cos_a, cos_b, -(sin_a * sin_b));
    precise const vec4 s = fma(sin_a, cos_b, cos_a * sin_b);
    precise const vec4 x = fma(low[i], c, -(high[i] * s));
    precise const vec4 y = fma(high[i], c, low[i] * s);
    low[i] = x;
    high[i] = y;
  }
}

/// 1 / rms of a head that starts at vec4 `base`.
float norm_factor(uint part, uint base) {
  precise float sum = 0.0;
  for (uint i = gl_SubgroupInvocationID; i < kHeadVecs; i += kLanes) {
    const vec4 x = load_raw(part, base + i);
    sum = fma(x.x, x.x, sum);
    sum = fma(x.y, x.y, sum);
    sum = fma(x.z, x.z, sum);
    sum = fma(x.w, x.w, sum);
  }
  precise const float mean = subgroupAdd(sum) / float(kHeadDim);
  precise const float factor = 1.0 / sqrt(mean + p.eps);
  return factor;
}

void main() {
  uint head = p.first_head + gl_WorkGroupID.x * gl_NumSubgroups + gl_SubgroupID;
  if (head >= p.n_heads + 2 * p.n_kv_heads) return;
  uint part = kQuery;
  if (head >= p.n_heads) {
    head -= p.n_heads;
    part = head < p.n_kv_heads ? kKey : kValue;
    head = head < p.n_kv_heads ? head : head - p.n_kv_heads;
  }
  const Column column = columns[gl_WorkGroupID.y];
  const uint raw = raw_row(part, gl_WorkGroupID.y) + head * kHeadVecs;
  const float factor = norm_factor(part, raw);

  for (uint octet = gl_SubgroupInvocationID; octet < kOctets; octet += kLanes) {
    vec4 low[2], high[2];
    [[unroll]] for (uint i = 0; i < 2; ++i) {
      const uint at = octet * 2 + i;
      precise const vec4 a = load_raw(part, raw + at) * factor;
      precise const vec4 b = load_raw(part, raw + kHalfVecs + at) * factor;
      low[i] = a * load_norm(part, at);
      high[i] = b * load_norm(part, kHalfVecs + at);
    }
    if (part != kValue && octet * 8 < p.n_pairs) rotate(column.position, octet, low, high);
    if (part == kQuery) {
      const uint base = (gl_WorkGroupID.y * p.n_heads + head) * kHeadVecs;
      [[unroll]] for (uint i = 0; i < 2; ++i) {
        q[base + octet * 2 + i] = low[i];
        q[base + kHalfVecs + octet * 2 + i] = high[i];
      }
      continue;
    }
#ifndef Q_ONLY
    uint row;
    const bool enabled = find_row(column, part, row);
    const uint words = kv_unit(row, head, p.n_kv_heads) * 4;
    if (kKvType == kKvQ8) {
      store_q8(part, words, octet, low, high, enabled);
    } else if (enabled) {
      store_octet(part, words, octet, low);
      store_octet(part, words, octet + kOctets, high);
    }
#endif
  }
}
