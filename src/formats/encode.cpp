// Chunks are encoded in batches: all threads work on one, then it is pushed in order. So memory is
// bounded and the first error of the file is the one that is reported, whatever the threads do.
#include "formats/encode.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/numeric.hpp"
#include "base/parallel.hpp"
#include "formats/quant.hpp"

namespace kimberlite::formats {
namespace {

// Large enough that a thread is busy for a while, small enough for the caches; whole blocks of
// every type.
constexpr uint64_t kChunkElements = 256 * kKiB;
constexpr uint64_t kChunksPerThread = 4;
constexpr uint64_t kCopyBytes = 4 * kMiB;

struct Chunk {
  std::vector<std::byte> bytes;
  Status status;
};

void encode_chunk(const Encoding& encoding, uint64_t first, uint64_t n, Chunk& out) {
  static thread_local std::vector<float> values;
  values.resize(n);
  dequantize_row(encoding.from, encoding.data.data() + *row_bytes(encoding.from, first),
                 values.data(), n);
  const float limit = max_magnitude(encoding.to);
  for (uint64_t i = 0; i < n; ++i) {
    if (std::fabs(values[i]) <= limit) continue;  // false for NaN too
    out.status =
        Error{ErrorCode::bad_file,
              fmt::format("{}: element {} is {}, the largest magnitude in {} is {}", encoding.name,
                          first + i, values[i], traits(encoding.to).name, limit)};
    return;
  }
  out.bytes.resize(*row_bytes(encoding.to, n));
  quantize_row(encoding.to, values.data(), out.bytes.data(), n);
}

}  // namespace

float max_magnitude(GgmlType to) {
  constexpr float kMaxHalf = 65504.0f;
  switch (to) {
    case GgmlType::f16:
    case GgmlType::q4_1:
    case GgmlType::q5_1:
      return kMaxHalf;
    case GgmlType::q4_0:
      return kMaxHalf * 8.0f;
    case GgmlType::q5_0:
      return kMaxHalf * 16.0f;
    case GgmlType::q8_0:
    case GgmlType::iq4_nl:
      return kMaxHalf * 127.0f;
    case GgmlType::q2_k:
      return kMaxHalf * 15.0f;
    case GgmlType::q4_k:
    case GgmlType::q5_k:
      return kMaxHalf * 63.0f;
    case GgmlType::q3_k:
      return kMaxHalf * 32.0f * 4.0f;
    case GgmlType::q6_k:
      return kMaxHalf * 128.0f * 32.0f;
    case GgmlType::iq4_xs:
      return kMaxHalf * 32.0f * 127.0f;
    default:
      return std::numeric_limits<float>::max();
  }
}

Status push_encoded(const Encoding& encoding, uint32_t n_threads, const ByteSink& sink) {
  const GgmlTraits& from = traits(encoding.from);
  const uint64_t n = encoding.data.size() / from.block_bytes * from.block_elems;
  const uint64_t n_chunks = div_up(n, kChunkElements);
  std::vector<Chunk> batch(std::min(n_chunks, n_threads * kChunksPerThread));
  for (uint64_t done = 0; done < n_chunks; done += batch.size()) {
    const uint64_t n_batch = std::min<uint64_t>(batch.size(), n_chunks - done);
    parallel_for(n_batch, n_threads, [&](uint64_t i) {
      const uint64_t first = (done + i) * kChunkElements;
      encode_chunk(encoding, first, std::min(kChunkElements, n - first), batch[i]);
    });
    for (uint64_t i = 0; i < n_batch; ++i) {
      if (!batch[i].status.ok()) return std::move(batch[i].status);
      KL_TRY(sink(batch[i].bytes));
    }
  }
  return {};
}

Status push_copied(std::span<const std::byte> bytes, const ByteSink& sink) {
  while (!bytes.empty()) {
    const size_t n = std::min<size_t>(bytes.size(), kCopyBytes);
    KL_TRY(sink(bytes.first(n)));
    bytes = bytes.subspan(n);
  }
  return {};
}

}  // namespace kimberlite::formats
