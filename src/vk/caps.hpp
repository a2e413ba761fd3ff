// What kernels may rely on: a pure value derived from a device snapshot by vk/plan.
#pragma once

#include <cstdint>

#include "vk/matrix_shape.hpp"

namespace kimberlite::vk {

/// How shaders read big read-only data (weights, KV cache): in units of 16 bytes.
enum class WideLoad : uint8_t {
  storage,  // storage buffer, uvec4 elements
  texel,    // uniform texel buffer, RGBA32UI: 3 to 5 times faster on lavapipe
};

struct Caps {
  uint32_t subgroup_size = 32;        // the size every pipeline runs with, full subgroups
  uint32_t min_subgroup_size = 32;    // that a pipeline may ask for instead
  uint32_t max_workgroup_size = 256;  // invocations
  uint32_t register_words = 256;      // 32-bit registers of an invocation, with such subgroups
  uint32_t max_shared_bytes = 32768;
  uint32_t max_grid_x = 65535;  // workgroups; y and z are at least 65535 everywhere
  // What the loops of one invocation may cost together, nested ones included: a loop of n rounds
  // costs n + 1. Beyond it the driver ends every loop after one round and says nothing.
  uint32_t max_loop_rounds = UINT32_MAX;
  WideLoad wide_load = WideLoad::storage;
  uint64_t max_storage_range_bytes = 128ull << 20;  // one descriptor of a storage buffer
  uint64_t max_texel_elements = 65536;              // one texel buffer view, in 16-byte units
  uint64_t max_arena_bytes = 966367641;             // one allocation: 0.9 GiB
  uint32_t storage_alignment = 256;  // bytes; every sub-allocation starts at a multiple
  bool is_cpu = false;               // a software driver: no shared memory, no barriers in kernels
  bool unified_memory = false;       // device-local memory is host-visible as well
  bool has_float16 = false;
  bool has_int8_dot = false;          // accelerated packed 4x8 bit signed dot product
  MatrixShape int8_matrix;            // of cooperative matrices with int8 factors; m 0: none
  uint32_t matrix_subgroup_size = 0;  // that their pipelines ask for
  uint32_t matrix_columns = 0;        // of a tile of theirs at most
  uint32_t n_compute_units = 1;       // how many workgroups of 256 keep the device busy (estimate)

  /// The most bytes that one wide read-only binding may span.
  [[nodiscard]] uint64_t max_wide_bytes() const {
    const uint64_t limit =
        wide_load == WideLoad::texel ? max_texel_elements * 16 : max_storage_range_bytes;
    return limit < max_arena_bytes ? limit : max_arena_bytes;
  }
};

}  // namespace kimberlite::vk
