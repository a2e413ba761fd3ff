// Sample rates through libsamplerate.
#include <fmt/format.h>

#include "media/audio_source.hpp"

#if KIMBERLITE_SAMPLERATE
#include <samplerate.h>
#endif

#include <array>
#include <utility>

namespace kimberlite::media {

#if KIMBERLITE_SAMPLERATE

namespace {

class SincResampler final : public Resampler {
 public:
  explicit SincResampler(uint32_t source_rate)
      : ratio_(static_cast<double>(kSampleRate) / source_rate) {
    int error = 0;
    state_ = src_new(SRC_SINC_BEST_QUALITY, 1, &error);
  }
  SincResampler(const SincResampler&) = delete;
  SincResampler& operator=(const SincResampler&) = delete;
  ~SincResampler() override {
    if (state_ != nullptr) src_delete(state_);
  }

  [[nodiscard]] bool is_made() const { return state_ != nullptr; }

  Status add(std::span<const float> in, bool last, std::vector<float>& out) override {
    static constexpr float kNothing = 0;  // libsamplerate gives out nothing of its own for a null
    std::array<float, 4096> block;
    while (true) {
      SRC_DATA data = {};
      data.data_in = in.empty() ? &kNothing : in.data();
      data.input_frames = static_cast<long>(in.size());
      data.data_out = block.data();
      data.output_frames = static_cast<long>(block.size());
      data.end_of_input = last ? 1 : 0;
      data.src_ratio = ratio_;
      if (const int error = src_process(state_, &data); error != 0) {
        return Error{ErrorCode::bad_file, fmt::format("resampling: {}", src_strerror(error))};
      }
      out.insert(out.end(), block.begin(), block.begin() + data.output_frames_gen);
      in = in.subspan(static_cast<size_t>(data.input_frames_used));
      if (data.output_frames_gen == 0 && (in.empty() || data.input_frames_used == 0)) return {};
    }
  }

 private:
  double ratio_;
  SRC_STATE* state_ = nullptr;
};

}  // namespace

bool resamples_audio() { return true; }

Result<std::unique_ptr<Resampler>> Resampler::make(uint32_t source_rate, std::string_view name) {
  auto resampler = std::make_unique<SincResampler>(source_rate);
  if (!resampler->is_made()) {
    return Error{ErrorCode::out_of_memory, fmt::format("{}: no memory to resample it", name)};
  }
  return std::unique_ptr<Resampler>(std::move(resampler));
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
