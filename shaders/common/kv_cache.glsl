// The bytes of a K or V cache (src/kernels/kv_layout.hpp), for whoever writes or reads them.
//
// Rows go in chunks of 64; a chunk is [n_kv_heads][64 rows][head], so that the keys of one head are
// one stream: rows of [n_kv_heads][head] ran 4 times slower on lavapipe (8 heads of 256 in f16:
// every key in another page). A head is one of, in units of 16 bytes:
//   f32   head_dim / 4  units of 4 values
//   f16   head_dim / 8  units of 8 values, the lower one in the lower half of a word
//   q8_0  head_dim / 16 units of 16 int8 codes, then head_dim / 256 units of scales: word j holds the
//         f16 scales of block j (low half) and of block j + head_dim / 64 (high half). A block is 32
//         values; its writer holds both halves of a head, which is why they are paired.
//
// Includer: declares the specialisation constants kHeadDim and kKvType.
const uint kChunk = 64u;    // kernels::kAttentionChunk
const uint kKvF32 = 0u;  // order of kernels::KvType
const uint kKvF16 = 1u;
const uint kKvQ8 = 2u;

const uint kUnitVecs = kKvType == kKvF32 ? 1u : (kKvType == kKvF16 ? 2u : 4u);  // vec4 in a unit
const uint kCodeUnits = kHeadDim / (4u * kUnitVecs);                            // of a head
const uint kHeadUnits = kCodeUnits + (kKvType == kKvQ8 ? kHeadDim / 256u : 0u);

/// Where head `head` of row `row` starts, in units.
uint kv_unit(uint row, uint head, uint n_kv_heads) {
  return ((row / kChunk * n_kv_heads + head) * kChunk + row % kChunk) * kHeadUnits;
}

/// Which scale unit, counted from the head's first one, holds the scale of code unit `unit`.
uint q8_scale_unit(uint unit) { return ((unit / 2u) % (kHeadDim / 64u)) / 4u; }

/// The scale of code unit `unit` out of its scale unit.
float q8_scale(uvec4 scales, uint unit) {
  const uint block = unit / 2u;
  const uint pair = block % (kHeadDim / 64u);
  const uint low = (pair & 1u) == 0u ? scales.x : scales.y;
  const uint high = (pair & 1u) == 0u ? scales.z : scales.w;
  const vec2 values = unpackHalf2x16((pair & 2u) == 0u ? low : high);
  return block < kHeadDim / 64u ? values.x : values.y;
}

vec4 q8_codes(uint word) {
  const int codes = int(word);
  return vec4(bitfieldExtract(codes, 0, 8), bitfieldExtract(codes, 8, 8),
              bitfieldExtract(codes, 16, 8), bitfieldExtract(codes, 24, 8));
}

/// The values of a code unit; x[0 .. kUnitVecs). `scale` is for q8_0 only.
void unpack_unit(uvec4 unit, float scale, out vec4 x[4]) {
  if (kKvType == kKvF32) {
    x[0] = uintBitsToFloat(unit);
  } else if (kKvType == kKvF16) {
    x[0] = vec4(unpackHalf2x16(unit.x), unpackHalf2x16(unit.y));
    x[1] = vec4(unpackHalf2x16(unit.z), unpackHalf2x16(unit.w));
  } else {
    x[0] = q8_codes(unit.x) * scale;
    x[1] = q8_codes(unit.y) * scale;
    x[2] = q8_codes(unit.z) * scale;
    x[3] = q8_codes(unit.w) * scale;
  }
}
