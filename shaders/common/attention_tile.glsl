// One tile of attention: some queries (columns x query heads of one KV head) against keys in blocks,
// by one subgroup. In a block the lanes are values of the head for the products and keys for the
// softmax.
//
// Includer: specialisation constants, push constants `p`, q_in, columns and the wide bindings k, v
// as in attention.comp, and kv_cache.glsl.
const uint kQueries = kTileHeads * kTileColumns;
const uint kHeadVecs = kHeadDim / 4;
const uint kLaneUnits = kCodeUnits > kLanes ? kCodeUnits / kLanes : 1u;
const uint kLaneVecs = kLaneUnits * kUnitVecs;
const float kLowest = -3.402823466e38;  // below every score; no infinities, so no NaN

vec4 q[kQueries * kLaneVecs];  // with kHoldQueries
uint q_at[kQueries];           // where they are
vec4 acc[kQueries * kLaneVecs];
float weight[kQueries];        // of the block's key number `lane`: score, then exp(score - top)
float top[kQueries];           // largest score so far
float sum[kQueries];           // this lane's share of the sum of weights
uint first_key[kTileColumns];  // visible keys of each column; none: first > last
uint last_key[kTileColumns];
uint tile_first = 0xffffffffu;  // of all columns together
uint tile_last = 0;
uint tile_sequence;
uint kv_head;

/// Which unit of a head is number i of this lane. With more lanes than units the spare lanes repeat
/// units of others, with q = 0.
uint lane_unit(uint i) { return (i * kLanes + gl_SubgroupInvocationID) % kCodeUnits; }
/// Which vec4 of a head is number i of this lane.
uint lane_vec(uint i) { return lane_unit(i / kUnitVecs) * kUnitVecs + i % kUnitVecs; }
bool is_spare() { return kCodeUnits < kLanes && gl_SubgroupInvocationID >= kCodeUnits; }

/// Where a key's values start, in units, relative to the block's first key. Masked keys of a block
/// stand for the nearest visible one: rows outside the visible range may hold anything, NaN
/// included.
uint key_unit(uint block, uint key) {
  return (clamp(block + key, tile_first, tile_last) - block) * kHeadUnits;
}

/// x[0 .. kUnitVecs) = the values of a unit of the head that starts at unit `head`.
#define LOAD_UNIT(name, head, unit, x)                                                      \
  float unit_scale = 1.0;                                                                   \
  if (kKvType == kKvQ8) {                                                                   \
    const uvec4 scales = LOAD_WIDE(name, head + kCodeUnits + q8_scale_unit(unit));          \
    unit_scale = q8_scale(scales, unit);                                                    \
  }                                                                                         \
  unpack_unit(LOAD_WIDE(name, head + unit), unit_scale, x);

float fma4(vec4 a, vec4 b, float c) {
  precise float total = fma(a.x, b.x, c);
  total = fma(a.y, b.y, total);
  total = fma(a.z, b.z, total);
  total = fma(a.w, b.w, total);
  return total;
}

void load_columns(uint first_column) {
  tile_sequence = columns[first_column].sequence;
  [[unroll]] for (uint c = 0; c < kTileColumns; ++c) {
    first_key[c] = 1;
    last_key[c] = 0;
    if (first_column + c < p.n_columns) {
      const Column column = columns[first_column + c];
      const uint first = column.position - min(column.position, p.window - 1);
      const uint end = column.position + p.n_own;
      if (column.is_active != 0 && first < end) {
        last_key[c] = end - 1 + p.sees_ahead * (column.is_active - 1);
        first_key[c] = first;
        tile_first = min(tile_first, first_key[c]);
        tile_last = max(tile_last, last_key[c]);
      }
    }
  }
}

vec4 read_query(uint query, uint i) {
  return is_spare() ? vec4(0.0) : q_in[q_at[query] + lane_vec(i)];
}

void load_queries(uint first_column, uint first_head) {
  [[unroll]] for (uint c = 0; c < kTileColumns; ++c) {
    const uint column = min(first_column + c, p.n_columns - 1);
    [[unroll]] for (uint h = 0; h < kTileHeads; ++h) {
      const uint query = c * kTileHeads + h;
      q_at[query] = (column * p.n_heads + first_head + h) * kHeadVecs;
      top[query] = kLowest;
      sum[query] = 0.0;
      [[unroll]] for (uint i = 0; i < kLaneVecs; ++i) {
        if (kHoldQueries) q[query * kLaneVecs + i] = read_query(query, i);
        acc[query * kLaneVecs + i] = vec4(0.0);
      }
    }
  }
}

/// weight = q . k for kKeys keys of the block from `first` on.
void score_keys(uint block, uint block_unit, uint first) {
  precise float dots[kKeys * kQueries];
  [[unroll]] for (uint i = 0; i < kKeys * kQueries; ++i) dots[i] = 0.0;
  uint head[kKeys];
  [[unroll]] for (uint key = 0; key < kKeys; ++key) {
    head[key] = block_unit + key_unit(block, first + key);
  }
  [[unroll]] for (uint i = 0; i < kLaneUnits; ++i) {
    const uint unit = lane_unit(i);
    [[unroll]] for (uint key = 0; key < kKeys; ++key) {
      vec4 x[4];
      LOAD_UNIT(k, head[key], unit, x)
      [[unroll]] for (uint n = 0; n < kQueries * kUnitVecs; ++n) {
        const uint query = n / kUnitVecs, at = i * kUnitVecs + n % kUnitVecs;
        const uint dot = key * kQueries + query;
        const vec4 values = kHoldQueries ? q[query * kLaneVecs + at] : read_query(query, at);
        dots[dot] = fma4(values, x[n % kUnitVecs], dots[dot]);
      }
    }
  }
  [[unroll]] for (uint i = 0; i < kKeys * kQueries; ++i) {
    const float score = subgroupAdd(dots[i]);
    const uint query = i % kQueries;
    weight[query] = gl_SubgroupInvocationID == first + i / kQueries ? score : weight[query];
  }
}

/// weight = q . k for the block's keys, one to a lane.
void score_block(uint block, uint block_unit) {
  if (kUnroll) {
    [[unroll]] for (uint i = 0; i < kBlock; i += kKeys) score_keys(block, block_unit, i);
  } else {
    [[dont_unroll]] for (uint i = 0; i < kBlock; i += kKeys) score_keys(block, block_unit, i);
  }
}

/// One step of the running softmax: scores become weights, older sums are rescaled. The selections
/// matter where a driver's exp(0) is not exactly 1.
void weigh_block(uint block) {
  const uint key = block + gl_SubgroupInvocationID;
  [[unroll]] for (uint query = 0; query < kQueries; ++query) {
    const uint column = query / kTileHeads;
    const bool visible = gl_SubgroupInvocationID < kBlock && key >= first_key[column] &&
                         key <= last_key[column];
    const float peak = max(top[query], subgroupMax(visible ? weight[query] : kLowest));
    float scale = 1.0;  // exactly, where nothing changes
    if (peak > top[query]) scale = top[query] > kLowest ? exp(top[query] - peak) : 0.0;
    weight[query] = visible ? exp(weight[query] - peak) : 0.0;
    precise const float total = fma(sum[query], scale, weight[query]);
    sum[query] = total;
    top[query] = peak;
    [[unroll]] for (uint i = 0; i < kLaneVecs; ++i) {
      precise const vec4 scaled = acc[query * kLaneVecs + i] * scale;
      acc[query * kLaneVecs + i] = scaled;
    }
  }
}

/// acc += weight * v over kKeys keys of the block from `first` on.
void add_weighted(uint block, uint block_unit, uint first) {
  [[unroll]] for (uint key = 0; key < kKeys; ++key) {
    const uint head = block_unit + key_unit(block, first + key);
    float w[kQueries];
    [[unroll]] for (uint query = 0; query < kQueries; ++query) {
      w[query] = subgroupShuffle(weight[query], first + key);
    }
    [[unroll]] for (uint i = 0; i < kLaneUnits; ++i) {
      const uint unit = lane_unit(i);
      vec4 x[4];
      LOAD_UNIT(v, head, unit, x)
      [[unroll]] for (uint n = 0; n < kQueries * kUnitVecs; ++n) {
        const uint query = n / kUnitVecs, vec = n % kUnitVecs;
        const uint at = query * kLaneVecs + i * kUnitVecs + vec;
        precise const vec4 added = fma(vec4(w[query]), x[vec], acc[at]);
        acc[at] = added;
      }
    }
  }
}

/// acc += weight * v over the block's keys in order.
void add_block(uint block, uint block_unit) {
  if (kUnroll) {
    [[unroll]] for (uint i = 0; i < kBlock; i += kKeys) add_weighted(block, block_unit, i);
  } else {
    [[dont_unroll]] for (uint i = 0; i < kBlock; i += kKeys) add_weighted(block, block_unit, i);
  }
}

/// Which chunk of the cache holds positions from chunk * kChunk on; with a table: of the segment that
/// is then selected. A chunk neither wraps around a ring nor crosses a segment.
uint find_chunk(uint chunk) {
#ifdef WIDE_TABLE
  const uint n_segments = (p.n_rows + p.segment_rows - 1) / p.segment_rows;
  const uint segment = tile_sequence * n_segments + chunk * kChunk / p.segment_rows;
  SELECT_WIDE(k, segment);
  SELECT_WIDE(v, segment);
  return chunk * kChunk % p.segment_rows / kChunk;
#else
  return (tile_sequence * p.n_rows + chunk * kChunk % p.n_rows) / kChunk;
#endif
}

/// All keys of this subgroup: `worker` of `n_workers` that share the split's chunks block by block.
/// With kUnroll and one worker a chunk costs 2 + 64 / kBlock of Caps::max_loop_rounds; kv_max_rows
/// relies on it.
void add_keys(uint split, uint worker, uint n_workers) {
  const uint begin = tile_first / kChunk;
  const uint end = tile_last / kChunk;
  const uint skip = (split + p.n_splits - begin % p.n_splits) % p.n_splits;
  for (uint chunk = begin + skip; chunk <= end; chunk += p.n_splits) {
    // Divisions are slow on CPU drivers: one for a chunk.
    const uint chunk_unit = (find_chunk(chunk) * p.n_kv_heads + kv_head) * (kChunk * kHeadUnits);
    for (uint at = worker * kBlock; at < kChunk; at += n_workers * kBlock) {
      const uint block = chunk * kChunk + at;
      if (block <= tile_last && block + kBlock > tile_first) {
        const uint block_unit = chunk_unit + at * kHeadUnits;
        score_block(block, block_unit);
        weigh_block(block);
        add_block(block, block_unit);
      }
    }
  }
}
