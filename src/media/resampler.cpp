// Sample rates through libsamplerate.
#include <fmt/format.h>

#include "media/audio_source.hpp"

#if KIMBERLITE_SAMPLERATE
#include <samplerate.h>
#endif

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "base/numeric.hpp"
#include "base/parallel.hpp"

namespace kimberlite::media {

#if KIMBERLITE_SAMPLERATE

namespace {

/// Half of the filter, in samples of the lower of both rates, and some more.
constexpr uint64_t kHalfFilter = 150;
constexpr uint64_t kChunkSeconds = 2;
constexpr uint64_t kBatchChunks = 8;

// The filter costs some 60 ms for each second of sound, so chunks are resampled in parallel, each
// with as much before and behind it as the filter sees. Chunks start where a sample of either rate
// falls on one of the other, so that they join without a seam; where that is does not depend on the
// threads.
class SincResampler final : public Resampler {
 public:
  SincResampler(uint32_t source_rate, std::string_view name) : name_(name) {
    const uint64_t divisor = std::gcd(source_rate, kSampleRate);
    step_in_ = source_rate / divisor;
    step_out_ = kSampleRate / divisor;
    const uint64_t lower = div_up(kHalfFilter * source_rate, uint64_t{kSampleRate});
    margin_ = align_up(std::max(kHalfFilter, lower), step_in_);
    chunk_ = align_up(kChunkSeconds * source_rate, step_in_);
  }

  Status add(std::span<const float> in, bool last, std::vector<float>& out) override {
    pending_.insert(pending_.end(), in.begin(), in.end());
    const uint64_t end = first_ + pending_.size();
    if (last) return end > next_ ? add_chunks(div_up(end - next_, chunk_), out) : Status{};
    const uint64_t n_chunks = end < next_ + margin_ ? 0 : (end - margin_ - next_) / chunk_;
    return n_chunks < kBatchChunks ? Status{} : add_chunks(n_chunks, out);
  }

 private:
  Status add_chunks(uint64_t n_chunks, std::vector<float>& out) {
    std::vector<std::vector<float>> chunks(n_chunks);
    std::vector<int> errors(n_chunks);
    parallel_for(n_chunks, 0,
                 [&](uint64_t i) { errors[i] = resample(next_ + i * chunk_, chunks[i]); });
    for (uint64_t i = 0; i < n_chunks; ++i) {
      if (errors[i] != 0) {
        return Error{ErrorCode::out_of_memory,
                     fmt::format("{}: resampling failed: {}", name_, src_strerror(errors[i]))};
      }
      out.insert(out.end(), chunks[i].begin(), chunks[i].end());
    }
    next_ += n_chunks * chunk_;
    const uint64_t kept = std::min(next_ - std::min(next_, margin_), first_ + pending_.size());
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(kept - first_));
    first_ = kept;
    return {};
  }

  /// The chunk that starts at `start`; returns libsamplerate's error.
  int resample(uint64_t start, std::vector<float>& out) const {
    const uint64_t end = first_ + pending_.size();
    const uint64_t from = start - std::min(start, margin_);
    const uint64_t to = std::min(start + chunk_ + margin_, end);
    out.resize(div_up((to - from) * step_out_, step_in_));
    SRC_DATA data = {};
    data.data_in = pending_.data() + (from - first_);
    data.input_frames = static_cast<long>(to - from);
    data.data_out = out.data();
    data.output_frames = static_cast<long>(out.size());
    data.src_ratio = static_cast<double>(step_out_) / static_cast<double>(step_in_);
    if (const int error = src_simple(&data, SRC_SINC_BEST_QUALITY, 1); error != 0) return error;
    out.erase(out.begin(),
              out.begin() + static_cast<ptrdiff_t>((start - from) / step_in_ * step_out_));
    out.resize(div_up(std::min(chunk_, end - start) * step_out_, step_in_));
    return 0;
  }

  std::string name_;
  uint64_t step_in_ = 1, step_out_ = 1;  // samples after which the two rates meet again
  uint64_t margin_ = 0, chunk_ = 0;      // of the source, multiples of step_in_
  std::vector<float> pending_;           // what later chunks need, from sample first_ of the source
  uint64_t first_ = 0;
  uint64_t next_ = 0;  // where the next chunk starts
};

}  // namespace

bool resamples_audio() { return true; }

Result<std::unique_ptr<Resampler>> Resampler::make(uint32_t source_rate, std::string_view name) {
  return std::unique_ptr<Resampler>(std::make_unique<SincResampler>(source_rate, name));
}

#else

bool resamples_audio() { return false; }

Result<std::unique_ptr<Resampler>> Resampler::make(uint32_t source_rate, std::string_view name) {
  return Error{ErrorCode::unsupported,
               fmt::format("{}: recorded at {} Hz; this build reads only sounds of {} Hz", name,
                           source_rate, kSampleRate)};
}

#endif

}  // namespace kimberlite::media
