// RMS norm of a row by all invocations that work on it (reduce.glsl). Accumulation: float32, precise.
//
// Includer: push constants `p` with width4 (of a row, in vec4) and eps, and common/reduce.glsl.
float add_squares(vec4 value, float sum_so_far) {
  precise float sum = sum_so_far;
  sum = fma(value.x, value.x, sum);
  sum = fma(value.y, value.y, sum);
  sum = fma(value.z, value.z, sum);
  sum = fma(value.w, value.w, sum);
  return sum;
}

float rms_factor(float sum) {
  precise const float mean = reduce_add(sum) / float(4 * p.width4);
  precise const float factor = 1.0 / sqrt(mean + p.eps);
  return factor;
}

vec4 normed(vec4 value, float factor, vec4 weight) {
  precise const vec4 scaled = value * factor;
  precise const vec4 weighted = scaled * weight;
  return weighted;
}
