// Each thread takes the next number, so that uneven work evens out.
#include "base/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace kimberlite {

uint32_t thread_count(uint32_t asked) {
  return asked != 0 ? asked : std::max(1u, std::thread::hardware_concurrency());
}

void parallel_for(uint64_t n, uint32_t n_threads, const std::function<void(uint64_t)>& work) {
  std::atomic<uint64_t> next{0};
  const auto take = [&] {
    for (uint64_t i = next++; i < n; i = next++) work(i);
  };
  std::vector<std::jthread> helpers;
  for (uint64_t i = 1; i < std::min<uint64_t>(n_threads, n); ++i) helpers.emplace_back(take);
  take();
}

}  // namespace kimberlite
