// The types that share the modules of shaders/common/coded.h, by the frequency of files that have
// them. Private to this layer.
#pragma once

// Calls X with the name of each enumerator of formats::GgmlType.
// clang-format off
#define KL_CODED_TYPES(X)                                                            \
  X(q5_k) X(q5_0) X(q5_1) X(q4_1) X(iq4_xs) X(iq4_nl) X(q3_k) X(q2_k) X(mxfp4) X(nvfp4) \
  X(q1_0) X(q2_0) X(tq1_0) X(tq2_0)
// clang-format on
