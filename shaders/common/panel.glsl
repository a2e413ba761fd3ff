// Panels: 64 rows of a packed matrix (src/kernels/packed_matrix.hpp), shared by LANES invocations
// of ROWS = 64 / LANES rows each; lane l has the rows l, l + LANES, ...: for every g the lanes read
// neighbouring units. Per-row scales lie so that the rows r, r + 8, r + 16, ... are together: the
// eight rows of a lane are one or two units at LANES = 8 (CPU drivers), and a panel's scales are
// still one burst at LANES = 32 or 64.
//
// Includer: declares the wide bindings `codes`, `scales`, `x`, the buffers `tiles` and `slots` and
// the push constants `p`.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 8;          // 8, 16, 32 or 64
layout(constant_id = 2) const uint COLUMNS = 1;        // of the tile, 1..8
layout(constant_id = 3) const uint SPLITS = 1;         // parts of K, each with its own lanes
layout(constant_id = 4) const bool SPREAD = false;     // x by one load and shuffles (panel_x.glsl)
layout(constant_id = 5) const bool MASK_ONLY = false;  // vector shifts are slow: scale x instead
layout(constant_id = 6) const bool TAIL = false;       // K is not a multiple of 32
layout(constant_id = 8) const bool EXPERTS = false;    // tiles are slots of experts
layout(constant_id = 9) const bool GATED = false;      // rows of gate and up (panel_store.glsl)

const uint ROWS = 64 / LANES;
#define MAX_TILE 32  // ROWS * COLUMNS at most

uint panel;         // clamped; panel_exists guards the store
bool panel_exists;
uint first_row;     // of the panel, in a column of y
uint lane;          // 0..LANES-1
uint split;         // 0..SPLITS-1
uint first_step;    // of the panel
uint n_tile;        // columns of the tile that exist
uint x_row[COLUMNS];  // x_start of each column of the tile
uint first_slot;      // EXPERTS: of the tile; else its first column

// Not kept for each column: an array with an index that is not constant lies in memory on NVIDIA.
uint slot_of(uint c) { return slots[first_slot + min(c, max(n_tile, 1) - 1)]; }

// The row of y of column c.
uint y_index(uint c) { return EXPERTS ? slot_of(c) : first_slot + c; }

// Where column c starts in x, in units; columns that do not exist read one that does.
uint x_start(uint c) {
  return p.x_units * (EXPERTS ? slot_of(c) / p.slots_per_row : min(first_slot + c, p.n_columns - 1));
}

// The tile's columns are slots of one expert. Says which panel of the matrix `wanted` of the
// expert is.
uint find_expert_tile(uint wanted) {
  const ExpertTile tile = tiles[gl_WorkGroupID.x];
  n_tile = tile.count;
  first_slot = tile.first;
  // Panels before those of this shard wrap around to numbers that it does not have.
  const uint in_shard = tile.expert * p.expert_panels + wanted - p.first_row / 64;
  panel_exists = wanted < p.expert_panels && in_shard < p.n_panels && n_tile > 0;
  first_row = wanted * 64;
  return in_shard;
}

uint find_column_tile(uint wanted) {
  first_slot = gl_WorkGroupID.x * COLUMNS;
  n_tile = p.n_columns - first_slot;
  panel_exists = wanted < p.n_panels;
  first_row = p.first_row + wanted * 64;
  return wanted;
}

// Grid: x = tile of COLUMNS columns, y = workgroup of whole panels; with SPLIT_K of one, and a
// subgroup, which is no wider than LANES there, takes part of one split. That compilers know what is
// the same in all lanes of a subgroup keeps activations out of vector registers.
void find_panel() {
#ifdef SPLIT_K
  const uint wanted = gl_WorkGroupID.y;
  split = subgroupBroadcastFirst(gl_LocalInvocationID.x / LANES);
#else
  const uint thread = gl_WorkGroupID.y * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
  const uint wanted = thread / LANES;
  split = 0;
#endif
  panel = min(EXPERTS ? find_expert_tile(wanted) : find_column_tile(wanted), p.n_panels - 1);
  [[unroll]] for (uint c = 0; c < COLUMNS; ++c) x_row[c] = x_start(c);
  first_step = panel * p.n_steps;
  lane = gl_LocalInvocationID.x % LANES;
}

#ifdef PAIRS
// Class int8_swar: row_of(2i) and row_of(2i + 1) are the two halves of pair_of(i).
uint pair_of(uint i) { return i * (LANES / 8) + lane / 8; }
uint row_of(uint g) { return (pair_of(g / 2) * 2 + g % 2) * 8 + lane % 8; }
uint scale_place(uint g) { return LANES == 8 ? g : pair_of(g / 2) * 2 + g % 2; }
#else
uint row_of(uint g) { return g * LANES + lane; }
// Place of row_of(g) among the eight rows of its panel that have the same row % 8.
uint scale_place(uint g) { return LANES == 8 ? g : g * (LANES / 8) + lane / 8; }
#endif

// The scale word of row_of(g), of the 64 words from unit `first` on.
uint scale_word(uint first, uint g) {
  const uint place = scale_place(g);
  const uint unit = first + (lane & 7) * 2 + (place >> 2);
  return LANES == 8 ? LOAD_WIDE(scales, unit)[place & 3] : LOAD_WORD(scales, unit, place & 3);
}

// The f16 scale of row_of(g), of the 64 halves from unit `first` on.
float scale_half(uint first, uint g) {
  const uint place = scale_place(g);
  const uint unit = first + (lane & 7);
  if (LANES == 8) {
    const vec2 pair = unpackHalf2x16(LOAD_WIDE(scales, unit)[place >> 1]);
    return (place & 1) != 0 ? pair.y : pair.x;
  }
  return unpackHalf2x16(LOAD_WORD(scales, unit, place >> 1) >> (16 * (place & 1))).x;
}

// The byte of row_of(g), of the 64 from unit `first` on.
uint scale_byte(uint first, uint g) {
  const uint place = scale_place(g);
  const uint unit = first + (lane & 7) / 2;
  const uint word = (lane & 1) * 2 + (place >> 2);
  return (LOAD_WORD(scales, unit, word) >> (8 * (place & 3))) & 0xff;
}
