// Every number is worked on once, by no more threads than asked for.
#include "base/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace kimberlite {
namespace {

TEST(Parallel, EveryNumberOnce) {
  for (const uint64_t n : {0u, 1u, 2u, 7u, 1000u}) {
    for (const uint32_t n_threads : {1u, 2u, 5u, 64u}) {
      std::vector<std::atomic<int>> calls(n);
      parallel_for(n, n_threads, [&](uint64_t i) { ++calls[i]; });
      for (uint64_t i = 0; i < n; ++i) EXPECT_EQ(calls[i], 1) << i << " of " << n;
    }
  }
}

TEST(Parallel, NoMoreThreadsThanAskedFor) {
  for (const uint32_t n_threads : {1u, 3u}) {
    std::mutex mutex;
    std::set<std::thread::id> threads;
    parallel_for(200, n_threads, [&](uint64_t) {
      const std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    });
    EXPECT_LE(threads.size(), n_threads);
    if (n_threads == 1) {
      EXPECT_EQ(*threads.begin(), std::this_thread::get_id());
    }
  }
}

TEST(Parallel, ThreadCount) {
  EXPECT_EQ(thread_count(3), 3u);
  EXPECT_GE(thread_count(0), 1u);
}

}  // namespace
}  // namespace kimberlite
