#include "runtime/bandwidth.hpp"

#include <algorithm>
#include <chrono>

#include "base/numeric.hpp"
#include "vk/memory.hpp"
#include "vk/recorder.hpp"

namespace kimberlite::runtime {
namespace {

// Far larger than any last-level cache, so that memory is what is measured; halved where the
// device has no room for both buffers.
constexpr uint64_t kCopyBytes = 256 * kMiB;
constexpr uint64_t kMinCopyBytes = 8 * kMiB;
constexpr uint32_t kRepetitions = 5;
// Long enough for the cost of a submission, some 50 us, to vanish.
constexpr double kBatchSeconds = 0.05;
constexpr uint32_t kMaxCopies = 256;

struct CopyBuffers {
  vk::Buffer from;
  vk::Buffer to;
};

Result<CopyBuffers> make_buffers(vk::Device& device) {
  uint64_t n_bytes = std::min(kCopyBytes, device.caps().max_arena_bytes);
  while (true) {
    auto from = vk::Buffer::make(device, n_bytes, vk::MemoryKind::device, "copy source");
    if (from.ok()) {
      auto to = vk::Buffer::make(device, n_bytes, vk::MemoryKind::device, "copy target");
      if (to.ok()) return CopyBuffers{std::move(from).value(), std::move(to).value()};
      from = std::move(to).error();
    }
    if (from.error().code != ErrorCode::out_of_memory || n_bytes / 2 < kMinCopyBytes) {
      return from.error();
    }
    n_bytes /= 2;
  }
}

Result<vk::CommandBuffer> record_copies(vk::Device& device, const CopyBuffers& buffers,
                                        uint32_t n_copies) {
  KL_ASSIGN(vk::Recorder recorder, vk::Recorder::begin(device, "copy bandwidth"));
  const vk::BufferRange from{&buffers.from, 0, buffers.from.n_bytes()};
  const vk::BufferRange to{&buffers.to, 0, buffers.to.n_bytes()};
  for (uint32_t i = 0; i < n_copies; ++i) {
    if (i > 0) recorder.barrier(vk::Access::transfer, vk::Access::transfer);
    recorder.copy(from, to, from.n_bytes);
  }
  return recorder.finish();
}

/// Seconds from the submission to its end.
Result<double> time_submission(vk::Device& device, const vk::CommandBuffer& commands) {
  const auto start = std::chrono::steady_clock::now();
  KL_TRY(device.run(commands.get()));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Result<double> measure_copy_bandwidth(vk::Device& device) {
  KL_ASSIGN(const CopyBuffers buffers, make_buffers(device));
  KL_ASSIGN(const vk::CommandBuffer one, record_copies(device, buffers, 1));
  KL_TRY(time_submission(device, one));  // the first touch of the pages
  KL_ASSIGN(const double one_seconds, time_submission(device, one));
  const double wanted = kBatchSeconds / std::max(one_seconds, 1e-6);
  const auto n_copies = static_cast<uint32_t>(std::clamp(wanted, 1.0, double{kMaxCopies}));
  KL_ASSIGN(const vk::CommandBuffer batch, record_copies(device, buffers, n_copies));
  double best_seconds = one_seconds * n_copies;
  for (uint32_t i = 0; i < kRepetitions; ++i) {
    KL_ASSIGN(const double seconds, time_submission(device, batch));
    best_seconds = std::min(best_seconds, seconds);
  }
  const double n_bytes = 2.0 * static_cast<double>(buffers.from.n_bytes()) * n_copies;
  return n_bytes / best_seconds;
}

}  // namespace kimberlite::runtime
