// Work split over threads that live for one call.
#pragma once

#include <cstdint>
#include <functional>

namespace kimberlite {

/// `asked`, or one per processor where that is 0.
uint32_t thread_count(uint32_t asked);

/// Calls work(i) once for every i below `n`, in any order, on up to `n_threads` threads including
/// the caller's; returns when all are done.
void parallel_for(uint64_t n, uint32_t n_threads, const std::function<void(uint64_t)>& work);

}  // namespace kimberlite
