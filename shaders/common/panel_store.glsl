// store_panel: acc to y, with the sums of the K splits added first (SPLIT_K), the scale of the
// matrix and the soft cap.
float finish_value(float sum) {
  precise const float value = sum * p.scale;
  if (p.softcap == 0.0) return value;
  precise const float scaled = value / p.softcap;
  precise const float capped = p.softcap * accurate_tanh(scaled);
  return capped;
}

void store_value(uint g, uint c, float value) {
  const uint row = row_of(g);
  const bool exists = panel_exists && c < n_tile;
  if (exists && (EXPERTS || panel * 64 + row < p.n_rows)) {
    y[y_row[c] + first_row + row] = finish_value(value);
  }
}

#ifdef SPLIT_K
// One workgroup is one panel. [split][g][c][lane]
shared float split_sums[SPLITS * ROWS * COLUMNS * LANES];

void store_panel() {
  [[unroll]] for (uint i = 0; i < ROWS * COLUMNS; ++i) {
    split_sums[(split * ROWS * COLUMNS + i) * LANES + lane] = acc[i];
  }
  barrier();
  for (uint i = split; i < ROWS * COLUMNS; i += SPLITS) {
    precise float sum = 0.0;
    for (uint s = 0; s < SPLITS; ++s) sum += split_sums[(s * ROWS * COLUMNS + i) * LANES + lane];
    store_value(i / COLUMNS, i % COLUMNS, sum);
  }
}
#else
void store_panel() {
  [[unroll]] for (uint g = 0; g < ROWS; ++g) {
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) store_value(g, c, acc[g * COLUMNS + c]);
  }
}
#endif
