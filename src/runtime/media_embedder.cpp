#include "runtime/media_embedder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "model/projector.hpp"
#include "runtime/engine.hpp"
#include "shaders/common/columns.h"

namespace kimberlite::runtime {

using graph::DType;
using graph::Shape;
using graph::Tensor;

namespace {

constexpr uint32_t kMinRows = 8;
constexpr uint32_t kMaxRows = 256;  // of one pass
/// Host memory for results: a hundred pictures of 280 tokens in a conversation with the 12B take
/// four times as much.
constexpr uint64_t kMaxKeptBytes = uint64_t{128} << 20;

/// Two lanes of multiply and rotate, seeded apart: a fingerprint, not a signature. Whoever makes
/// two pictures collide on purpose confuses his own conversation.
ContentHash hash_of(std::span<const uint32_t> sizes, std::span<const float> values) {
  ContentHash hash{0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu};
  const auto add = [&](uint64_t word) {
    hash[0] = std::rotl((hash[0] ^ word) * 0xFF51AFD7ED558CCDu, 31);
    hash[1] = (std::rotl(hash[1], 27) ^ word) * 0xC4CEB9FE1A85EC53u + 0x52DCE729u;
  };
  for (const uint32_t size : sizes) add(size);
  for (const float value : values) add(std::bit_cast<uint32_t>(value));
  for (uint64_t& lane : hash) lane = (lane ^ (lane >> 32)) * 0x9FB21C651E98DF25u;
  return hash;
}

uint32_t pick_rows(uint32_t n_left) {
  return std::clamp(std::bit_ceil(n_left), kMinRows, kMaxRows);
}

Error refuse(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

}  // namespace

Result<std::shared_ptr<const SoftTokens>> MediaEmbedder::embed_picture(
    uint32_t n_x, uint32_t n_y, std::span<const float> patches) {
  const auto& vision = projector_->config().vision;
  if (!vision) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: the projector has no vision", projector_->path())};
  }
  if (n_x == 0 || n_y == 0 || n_x > vision->n_positions || n_y > vision->n_positions) {
    return refuse(fmt::format("a picture of {} x {} patches: each side needs 1 to {}", n_x, n_y,
                              vision->n_positions));
  }
  const uint64_t n = uint64_t{n_x} * n_y;
  if (n > engine_->max_picture_tokens()) {
    return refuse(fmt::format("a picture of {} x {} patches has {} tokens, at most {} are possible",
                              n_x, n_y, n, engine_->max_picture_tokens()));
  }
  if (patches.size() != n * vision->n_values()) {
    return refuse(fmt::format("a picture of {} x {} patches has {} values, expected {} rows of {}",
                              n_x, n_y, patches.size(), n, vision->n_values()));
  }
  return embed({Kind::picture, patches, static_cast<uint32_t>(n), vision->n_values(), n_x});
}

Result<std::shared_ptr<const SoftTokens>> MediaEmbedder::embed_sound(
    std::span<const float> frames) {
  const auto& audio = projector_->config().audio;
  if (!audio) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: the projector has no audio", projector_->path())};
  }
  if (audio->conformer) return embed_mel(frames);
  const uint64_t n = frames.size() / audio->n_samples;
  if (frames.size() % audio->n_samples != 0 || n == 0 || n > engine_->config().max_context) {
    return refuse(fmt::format("a sound of {} samples, expected 1 to {} frames of {}", frames.size(),
                              engine_->config().max_context, audio->n_samples));
  }
  return embed({Kind::sound, frames, static_cast<uint32_t>(n), audio->n_samples, 0});
}

Result<std::shared_ptr<const SoftTokens>> MediaEmbedder::embed_mel(std::span<const float> frames) {
  constexpr uint32_t kBins = model::ConformerConfig::kMelBins;
  const uint64_t n = frames.size() / kBins;
  const uint64_t most =
      std::min<uint64_t>(SoundEncoder::kMaxFrames, uint64_t{4} * engine_->config().max_context);
  if (frames.size() % kBins != 0 || n == 0 || n > most) {
    return refuse(fmt::format("a sound of {} values, expected 1 to {} mel frames of {}",
                              frames.size(), most, kBins));
  }
  const uint32_t n_tokens = SoundEncoder::count_tokens(static_cast<uint32_t>(n));
  return embed({Kind::sound, frames, n_tokens, kBins, 0});
}

Result<std::shared_ptr<const SoftTokens>> MediaEmbedder::embed(const Source& source) {
  const std::array sizes{static_cast<uint32_t>(source.kind), source.n, source.n_x};
  const ContentHash hash = hash_of(sizes, source.values);
  const auto known =
      std::ranges::find_if(kept_, [&](const auto& soft) { return soft->hash == hash; });
  if (known != kept_.end()) {
    const std::shared_ptr<const SoftTokens> soft = *known;
    kept_.erase(known);
    kept_.push_front(soft);
    return soft;
  }
  const uint64_t width = projector_->config().target_width;
  const auto soft = std::make_shared<SoftTokens>();
  soft->hash = hash;
  soft->n = source.n;
  soft->is_block = source.kind == Kind::picture && engine_->config().has_picture_blocks();
  soft->rows.resize(source.n * width);
  KL_TRY(compute(source, soft->rows));
  ++n_computed_;
  keep(soft);
  return std::shared_ptr<const SoftTokens>(soft);
}

/// An encoder takes a picture whole; without one each row is its own.
Status MediaEmbedder::compute(const Source& source, std::span<float> out) {
  const auto& vision = projector_->config().vision;
  if (source.kind == Kind::picture && vision->tower) {
    return encoder_.encode(source.n_x, source.n / source.n_x, source.values, out);
  }
  if (source.kind == Kind::sound && projector_->config().audio->conformer) {
    return sounds_.encode(source.values, out);
  }
  const uint64_t width = projector_->config().target_width;
  for (uint32_t first = 0; first < source.n; first += kMaxRows) {
    const uint32_t n = std::min(kMaxRows, source.n - first);
    KL_TRY(run(source, first, n, out.subspan(first * width, n * width)));
  }
  return {};
}

void MediaEmbedder::keep(std::shared_ptr<const SoftTokens> soft) {
  kept_.push_front(std::move(soft));
  uint64_t n_bytes = 0;
  for (size_t i = 0; i < kept_.size(); ++i) {
    n_bytes += kept_[i]->rows.size() * sizeof(float);
    if (i > 0 && n_bytes > kMaxKeptBytes) kept_.resize(i);
  }
}

Status MediaEmbedder::make_buffers() {
  if (values_ != nullptr) return {};
  const model::ProjectorConfig& config = projector_->config();
  uint64_t width = config.vision ? config.vision->n_values() : 0;
  if (config.audio) width = std::max<uint64_t>(width, config.audio->n_samples);
  const auto make = [&](uint64_t n_bytes, vk::MemoryKind kind,
                        const char* name) -> Result<std::unique_ptr<vk::Buffer>> {
    KL_ASSIGN(vk::Buffer buffer, vk::Buffer::make(engine_->device(), n_bytes, kind, name));
    return std::make_unique<vk::Buffer>(std::move(buffer));
  };
  using enum vk::MemoryKind;
  KL_ASSIGN(places_, make(2 * kMaxRows * sizeof(shaders::Column), upload, "patch places"));
  KL_ASSIGN(out_, make(kMaxRows * config.target_width * sizeof(float), readback, "embeddings"));
  KL_ASSIGN(values_, make(kMaxRows * width * sizeof(float), upload, "patches and frames"));
  return {};
}

Tensor MediaEmbedder::rows_of(const vk::Buffer& buffer, uint32_t n, uint64_t width) const {
  return Tensor::of({&buffer, 0, buffer.n_bytes()}, DType::f32, Shape{n, width});
}

Result<const graph::Executable*> MediaEmbedder::get(const Key& key) {
  auto& slot = executables_[key];
  if (slot != nullptr) return slot.get();
  const model::ProjectorConfig& config = projector_->config();
  graph::Graph graph(engine_->device().caps(), &engine_->policy());
  const Tensor out = rows_of(*out_, key.n_rows, config.target_width);
  if (key.kind == Kind::picture) {
    const Tensor places = Tensor::of({places_.get(), 0, places_->n_bytes()}, DType::u32,
                                     Shape{uint64_t{2} * kMaxRows, 4});
    model::add_patch_embeddings(graph, config, projector_->weights(),
                                {.values = rows_of(*values_, key.n_rows, config.vision->n_values()),
                                 .columns = places.rows(0, key.n_rows),
                                 .rows = places.rows(kMaxRows, key.n_rows)},
                                out);
  } else {
    model::add_frame_embeddings(graph, config, projector_->weights(),
                                rows_of(*values_, key.n_rows, config.audio->n_samples), out);
  }
  const graph::Plan plan = graph::make_plan(graph);
  KL_ASSIGN(const vk::BufferRange scratch, engine_->reserve_scratch(plan.scratch_bytes));
  graph::ExecutableOptions options;
  options.name = fmt::format("{}-{}", key.kind == Kind::picture ? "patches" : "frames", key.n_rows);
  KL_ASSIGN(graph::Executable executable,
            graph::Executable::make(engine_->device(), engine_->pipelines(), graph, plan, scratch,
                                    options));
  slot = std::make_unique<graph::Executable>(std::move(executable));
  return slot.get();
}

/// Rows behind the last patch stand at the first place, and are not read.
void MediaEmbedder::write_places(const Source& source, uint32_t first, uint32_t n_rows) {
  auto* columns = reinterpret_cast<shaders::Column*>(places_->mapped());
  const uint32_t n_positions = projector_->config().vision->n_positions;
  for (uint32_t i = 0; i < n_rows; ++i) {
    const uint32_t patch = first + i < source.n ? first + i : 0;
    columns[i] = {patch % source.n_x, 0, 0, 1};
    columns[kMaxRows + i] = {n_positions + patch / source.n_x, 0, 0, 1};
  }
}

Status MediaEmbedder::run(const Source& source, uint32_t first, uint32_t n, std::span<float> out) {
  KL_TRY(make_buffers());
  const uint32_t n_rows = pick_rows(n);
  KL_ASSIGN(const graph::Executable* pass, get({source.kind, n_rows}));
  const std::span<const float> rows =
      source.values.subspan(uint64_t{first} * source.width, uint64_t{n} * source.width);
  std::memcpy(values_->mapped(), rows.data(), rows.size_bytes());
  std::memset(values_->mapped() + rows.size_bytes(), 0,
              uint64_t{n_rows - n} * source.width * sizeof(float));
  if (source.kind == Kind::picture) write_places(source, first, n_rows);
  KL_TRY(engine_->device().run(pass->commands()));
  std::memcpy(out.data(), out_->mapped(), out.size_bytes());
  return {};
}

}  // namespace kimberlite::runtime
