#include "runtime/sound_encoder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstring>

#include "model/conformer.hpp"
#include "runtime/engine.hpp"
#include "runtime/prefill_plan.hpp"

namespace kimberlite::runtime {

using graph::DType;
using graph::Shape;
using graph::Tensor;
using model::ConformerConfig;

namespace {

constexpr uint32_t kMinRows = 8;
constexpr uint32_t kRowStep = 128;  // between the numbers of rows of long sounds
constexpr uint32_t kMaxRows = 768;
static_assert(kMaxRows >= SoundEncoder::count_tokens(SoundEncoder::kMaxFrames));

/// Few enough numbers that their executables are soon all there.
uint32_t pick_rows(uint32_t n_tokens) {
  if (n_tokens <= kRowStep) return std::max(std::bit_ceil(n_tokens), kMinRows);
  return (n_tokens + kRowStep - 1) / kRowStep * kRowStep;
}

Tensor view(const vk::Buffer& buffer, uint64_t offset, DType dtype, const Shape& shape) {
  return Tensor::of({&buffer, offset, shape.n_elements() * sizeof(float)}, dtype, shape);
}

struct BufferFloats {
  uint64_t frames, sizes, rows, out;
};
BufferFloats buffer_floats(const model::ProjectorConfig& config) {
  constexpr uint64_t kRows = kMaxRows;
  return {.frames = 4 * kRows * ConformerConfig::kMelBins,
          .sizes = 2,
          .rows = 2 * kRows * config.audio->conformer->width,
          .out = kRows * config.target_width};
}

}  // namespace

uint64_t SoundEncoder::planned_bytes(const model::ProjectorConfig& config) {
  const BufferFloats n = buffer_floats(config);
  return (n.frames + n.sizes + n.rows + n.out) * sizeof(float);
}

Status SoundEncoder::make_buffers() {
  if (frames_ != nullptr) return {};
  const auto make = [&](uint64_t n_floats, vk::MemoryKind kind,
                        const char* name) -> Result<std::unique_ptr<vk::Buffer>> {
    KL_ASSIGN(vk::Buffer buffer,
              vk::Buffer::make(engine_->device(), n_floats * sizeof(float), kind, name));
    return std::make_unique<vk::Buffer>(std::move(buffer));
  };
  const BufferFloats n = buffer_floats(projector_->config());
  using enum vk::MemoryKind;
  KL_ASSIGN(sizes_, make(n.sizes, upload, "sizes of a sound"));
  KL_ASSIGN(rows_, make(n.rows, device, "rows of a sound"));
  KL_ASSIGN(out_, make(n.out, readback, "embeddings of a sound"));
  KL_ASSIGN(frames_, make(n.frames, upload, "mel frames"));
  return {};
}

Result<graph::Executable> SoundEncoder::make_part(uint32_t n_rows, uint32_t part) {
  const model::ProjectorConfig& config = projector_->config();
  const ConformerConfig& conformer = *config.audio->conformer;
  const model::AudioWeights& weights = projector_->weights().audio();
  const Shape shape{n_rows, conformer.width};
  const uint64_t half_bytes = uint64_t{kMaxRows} * conformer.width * sizeof(float);
  const auto stream = [&](uint32_t n_done) {
    return view(*rows_, n_done % 2 * half_bytes, DType::f32, shape);
  };
  graph::Graph graph(engine_->device().caps(), &engine_->policy());
  if (part == 0) {
    const Shape frames{uint64_t{4} * n_rows, ConformerConfig::kMelBins};
    model::add_conformer_input(graph, conformer, weights.conformer,
                               {.frames = view(*frames_, 0, DType::f32, frames),
                                .sizes = view(*sizes_, 0, DType::u32, Shape{2})},
                               stream(0));
  } else if (part <= conformer.n_layers) {
    model::add_conformer_layer(graph, conformer, weights.conformer, part - 1, stream(part - 1),
                               stream(part));
  } else {
    model::add_conformer_output(graph, conformer, weights, stream(part - 1),
                                view(*out_, 0, DType::f32, Shape{n_rows, config.target_width}));
  }
  const graph::Plan plan = graph::make_plan(graph);
  KL_ASSIGN(const vk::BufferRange scratch, engine_->reserve_scratch(plan.scratch_bytes));
  graph::ExecutableOptions options;
  options.name = fmt::format("sound-{}.{}", n_rows, part);
  return graph::Executable::make(engine_->device(), engine_->pipelines(), graph, plan, scratch,
                                 options);
}

Result<const SoundEncoder::Parts*> SoundEncoder::get(uint32_t n_rows) {
  const auto known = parts_.find(n_rows);
  if (known != parts_.end()) return &known->second;
  Parts parts;
  const uint32_t n_parts = projector_->config().audio->conformer->n_layers + 2;
  for (uint32_t part = 0; part < n_parts; ++part) {
    KL_ASSIGN(graph::Executable executable, make_part(n_rows, part));
    parts.push_back(std::move(executable));
  }
  return &parts_.emplace(n_rows, std::move(parts)).first->second;
}

/// The convolutions alone, the first layer alone, and then as many parts at once as it shows to fit
/// the bound.
Status SoundEncoder::submit(const Parts& parts) {
  using Clock = std::chrono::steady_clock;
  vk::Device& device = engine_->device();
  const double bound = submission_bound_seconds(device.caps());
  n_submissions_ = 0;
  for (size_t first = 0, n = 1; first < parts.size();) {
    std::vector<VkCommandBuffer> commands;
    n = std::min(n, parts.size() - first);
    for (size_t i = 0; i < n; ++i) commands.push_back(parts[first + i].commands());
    const auto start = Clock::now();
    KL_TRY(device.run(commands));
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    ++n_submissions_;
    first += n;
    if (n_submissions_ == 1) continue;
    const double each = std::max(elapsed.count() / static_cast<double>(n), 1e-6);
    n = static_cast<size_t>(std::clamp(bound / each, 1.0, static_cast<double>(parts.size())));
  }
  return {};
}

Status SoundEncoder::encode(std::span<const float> frames, std::span<float> out) {
  KL_TRY(make_buffers());
  const auto n_frames = static_cast<uint32_t>(frames.size() / ConformerConfig::kMelBins);
  const uint32_t n_tokens = count_tokens(n_frames);
  KL_CHECK(n_frames > 0 && n_frames <= kMaxFrames, "a sound of up to 30 s");
  KL_ASSIGN(const Parts* parts, get(pick_rows(n_tokens)));
  const std::array<uint32_t, 2> sizes{n_frames, (n_frames + 1) / 2};
  std::memcpy(sizes_->mapped(), sizes.data(), sizeof(sizes));
  std::memcpy(frames_->mapped(), frames.data(), frames.size_bytes());
  KL_TRY(submit(*parts));
  std::memcpy(out.data(), out_->mapped(), out.size_bytes());
  return {};
}

}  // namespace kimberlite::runtime
