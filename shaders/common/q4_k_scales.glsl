// Scales of Q4_K and Q5_K, four words a row and superblock from unit `first` on: bits 0..23 of word
// i are scale, min, scale, min (6 bits each) of the blocks 2i and 2i + 1; the top bytes are d and
// dmin, f16 each.
//
// Includer: declares scale_word(first, row).
uint q4_k_scales(uint first, uint row) {
  return (scale_word(first, row) >> 24) | (scale_word(first + 16, row) >> 24 << 8) |
         (scale_word(first + 32, row) >> 24 << 16) | (scale_word(first + 48, row) & 0xff000000);
}

// (scale, min) of block b, given q4_k_scales.
vec2 q4_k_factors(uint first, uint d_dmin, uint b, uint row) {
  const uint fields = scale_word(first + (b >> 1) * 16, row) >> ((b & 1) * 12);
  precise const vec2 factors = unpackHalf2x16(d_dmin) * vec2(fields & 63, (fields >> 6) & 63);
  return factors;
}
