// Activations of one block of 32 elements, for every column of the tile: x_of(c, j) is elements
// 4j..4j+3.
//
// With SPREAD every 8 lanes hold the whole block, one vec4 each, and x_of shuffles: on lavapipe a
// shuffle costs half of a load. Without it x_of loads from a uniform address.
// With MASK_ONLY x is divided by the place value of the code field that it meets (exact: a power of
// two), so that codes are masked and never shifted.
// SUM_WIDTH (4 or 8 vec4; undefined: none) asks for x_sum[c], the sum of x itself over the group.
// No order of operations depends on the number of columns.
vec4 x_held[COLUMNS];
uint x_block;
#ifdef SUM_WIDTH
float x_part[COLUMNS];  // SPREAD: the sum over this lane's group
float x_sum[COLUMNS];   // complete when the last x_of of the group has been called
#endif

vec4 field_scale(uint j);  // 1 / place value, by weight type

vec4 load_x(uint c, uint j) {
  const uint unit = x_block * 8 + j;
  if (!TAIL) return uintBitsToFloat(LOAD_WIDE(x, x_row[c] + unit));
  const vec4 value = uintBitsToFloat(LOAD_WIDE(x, x_row[c] + min(unit, p.x_units - 1)));
  return unit < p.x_units ? value : vec4(0.0);
}

float sum4(vec4 v) {
  precise const float sum = (v.x + v.y) + (v.z + v.w);
  return sum;
}

void begin_block(uint block) {
  x_block = block;
  if (!SPREAD) return;
  const uint j = gl_SubgroupInvocationID & 7;
  [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
    const vec4 value = load_x(c, j);
#ifdef SUM_WIDTH
    precise float sum = sum4(value);
    sum += subgroupShuffleXor(sum, 1);
    sum += subgroupShuffleXor(sum, 2);
    if (SUM_WIDTH == 8) sum += subgroupShuffleXor(sum, 4);
    x_part[c] = sum;
#endif
    precise const vec4 scaled = value * field_scale(j);
    x_held[c] = MASK_ONLY ? scaled : value;
  }
}

// Group `i` of SUM_WIDTH vec4 in the block starts.
void begin_group(uint i) {
#ifdef SUM_WIDTH
  [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
    x_sum[c] = SPREAD ? x_part[c] : 0.0;
    if (SPREAD && SUM_WIDTH == 4) {
      x_sum[c] = subgroupShuffle(x_part[c], (gl_SubgroupInvocationID & ~7u) + 4 * i);
    }
  }
#endif
}

vec4 x_of(uint c, uint j) {
  if (SPREAD) return subgroupShuffle(x_held[c], (gl_SubgroupInvocationID & ~7u) + j);
  const vec4 value = load_x(c, j);
#ifdef SUM_WIDTH
  precise const float sum = x_sum[c] + sum4(value);
  x_sum[c] = sum;
#endif
  precise const vec4 scaled = value * field_scale(j);
  return MASK_ONLY ? scaled : value;
}
