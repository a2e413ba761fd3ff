#include "runtime/picture_encoder.hpp"

#include <algorithm>
#include <cstring>

#include "base/numeric.hpp"
#include "kernels/rope_2d.hpp"
#include "runtime/engine.hpp"
#include "runtime/prefill_plan.hpp"
#include "shaders/common/columns.h"

namespace kimberlite::runtime {

using graph::DType;
using graph::Shape;
using graph::Tensor;
using model::RowRange;
using model::TowerPicture;

namespace {

constexpr uint32_t kRowUnit = 8;     // of products with many rows
constexpr uint32_t kStepRows = 256;  // of a step
constexpr size_t kMaxSteps = 32;     // of a submission: the next is recorded while it runs
/// Before anything is known of the device's speed: 0.1 s for one of 10 GMAC/s.
constexpr uint64_t kFirstMacs = 1'000'000'000;

/// One of the buffers for so many rows and tokens.
struct BufferSize {
  uint64_t n_bytes = 0;
  vk::MemoryKind kind{};
  const char* name = "";
};

std::array<BufferSize, 8> buffer_sizes(const model::ProjectorConfig& config, uint64_t n_rows,
                                       uint64_t n_tokens) {
  using enum vk::MemoryKind;
  const model::VisionConfig& vision = *config.vision;
  const uint64_t row_bytes = n_rows * vision.width * sizeof(float);
  const uint64_t column_bytes = n_rows * sizeof(shaders::Column);
  const uint64_t value_bytes = n_rows * vision.tower->n_patch_values() * sizeof(float);
  return {BufferSize{value_bytes, upload, "patches"},
          BufferSize{column_bytes, upload, "columns of patches"},
          BufferSize{column_bytes, upload, "rows of patches"},
          BufferSize{n_rows * 2 * sizeof(uint32_t), upload, "places of patches"},
          BufferSize{row_bytes, device, "encoded patches"},
          BufferSize{row_bytes, device, "keys of patches"},
          BufferSize{row_bytes, device, "values of patches"},
          BufferSize{n_tokens * config.target_width * sizeof(float), readback, "embeddings"}};
}

uint32_t padded(uint32_t n) { return align_up(n, kRowUnit); }

uint32_t n_patches_of(const model::TowerConfig& tower, uint32_t n_tokens) {
  return n_tokens * tower.merge * tower.merge;
}

}  // namespace

uint64_t PictureEncoder::planned_bytes(const model::ProjectorConfig& config, uint32_t n_tokens) {
  const uint32_t n_rows = padded(n_patches_of(*config.vision->tower, n_tokens));
  uint64_t n_bytes = 0;
  for (const BufferSize& size : buffer_sizes(config, n_rows, padded(n_tokens))) {
    n_bytes += size.n_bytes;
  }
  return n_bytes;
}

Tensor PictureEncoder::tensor(Buffer which, DType dtype, Shape shape) const {
  const vk::Buffer& buffer = *buffers_[which];
  return Tensor::of({&buffer, 0, buffer.n_bytes()}, dtype, shape);
}

Status PictureEncoder::make_buffers(uint32_t n_rows, uint32_t n_tokens) {
  KL_TRY(make_angles());
  if (n_rows <= n_rows_ && n_tokens <= n_tokens_) return {};
  n_rows_ = std::max(n_rows, n_rows_);
  n_tokens_ = std::max(n_tokens, n_tokens_);
  const auto sizes = buffer_sizes(projector_->config(), n_rows_, n_tokens_);
  for (size_t i = 0; i < sizes.size(); ++i) {
    buffers_[i].reset();
    KL_ASSIGN(vk::Buffer buffer,
              vk::Buffer::make(engine_->device(), sizes[i].n_bytes, sizes[i].kind, sizes[i].name));
    buffers_[i] = std::make_unique<vk::Buffer>(std::move(buffer));
  }
  return {};
}

/// Of every place that the largest picture may have.
Status PictureEncoder::make_angles() {
  if (buffers_[kAngles] != nullptr) return {};
  const model::TowerConfig& tower = *vision().tower;
  const uint32_t n_places =
      std::min(tower.n_positions, engine_->max_picture_tokens() * tower.merge);
  const std::vector<float> angles =
      kernels::make_rope_2d_table(n_places, tower.head_dim, tower.rope_theta);
  KL_ASSIGN(vk::Buffer buffer, vk::Buffer::make(engine_->device(), angles.size() * sizeof(float),
                                                vk::MemoryKind::device, "angles of patches"));
  KL_TRY(vk::write_range(engine_->device(), {&buffer, 0, buffer.n_bytes()}, angles.data(),
                         buffer.n_bytes()));
  buffers_[kAngles] = std::make_unique<vk::Buffer>(std::move(buffer));
  return {};
}

/// A token's pixels are those of merge * merge patches, which lie in merge rows of the picture.
/// Rows behind the last patch stand at the first place and are zeros.
void PictureEncoder::write_inputs(uint32_t n_x, uint32_t n_y, std::span<const float> pixels) {
  const model::TowerConfig& tower = *vision().tower;
  const uint32_t side = vision().side, patch_side = tower.patch;
  const uint32_t columns = n_x * tower.merge;
  const uint32_t n_patches = columns * n_y * tower.merge;
  const uint32_t n_rows = padded(n_patches);
  auto* values = reinterpret_cast<float*>(buffers_[kValues]->mapped());
  auto* by_column = reinterpret_cast<shaders::Column*>(buffers_[kColumns]->mapped());
  auto* by_row = reinterpret_cast<shaders::Column*>(buffers_[kRows]->mapped());
  auto* places = reinterpret_cast<uint32_t*>(buffers_[kPlaces]->mapped());
  for (uint32_t index = 0; index < n_rows; ++index) {
    const bool is_patch = index < n_patches;
    const uint32_t x = is_patch ? index % columns : 0;
    const uint32_t y = is_patch ? index / columns : 0;
    by_column[index] = {x, 0, 0, 1};
    by_row[index] = {tower.n_positions + y, 0, 0, 1};
    places[2 * index] = x;
    places[2 * index + 1] = y;
    float* out = values + uint64_t{index} * tower.n_patch_values();
    if (!is_patch) std::fill_n(out, tower.n_patch_values(), 0.0f);
    const uint64_t token = y / tower.merge * n_x + x / tower.merge;
    const uint32_t left = x % tower.merge * patch_side, above = y % tower.merge * patch_side;
    for (uint64_t line = 0; is_patch && line < 3 * uint64_t{patch_side}; ++line) {
      const uint64_t colour = line / patch_side;
      const uint64_t from = ((token * 3 + colour) * side + above + line % patch_side) * side + left;
      for (uint32_t i = 0; i < patch_side; ++i) *out++ = 2 * (pixels[from + i] - 0.5f);
    }
  }
}

TowerPicture PictureEncoder::make_picture(uint32_t n_x, uint32_t n_y) const {
  const model::TowerConfig& tower = *vision().tower;
  TowerPicture picture;
  picture.n_x = n_x;
  picture.n_patches = n_patches_of(tower, n_x * n_y);
  const uint64_t n = padded(picture.n_patches);
  const Shape rows{n, vision().width};
  picture.values = tensor(kValues, DType::f32, Shape{n, tower.n_patch_values()});
  picture.columns = tensor(kColumns, DType::u32, Shape{n, 4});
  picture.rows = tensor(kRows, DType::u32, Shape{n, 4});
  picture.places = tensor(kPlaces, DType::u32, Shape{n, 2});
  picture.x = tensor(kX, DType::f32, rows);
  picture.k = tensor(kK, DType::f32, rows);
  picture.v = tensor(kV, DType::f32, rows);
  const uint64_t row_bytes = tower.head_dim / 2 * sizeof(float);
  picture.angles = tensor(kAngles, DType::f32,
                          Shape{buffers_[kAngles]->n_bytes() / row_bytes, tower.head_dim / 2});
  return picture;
}

/// Each layer in two sweeps over the rows: all keys, then what looks at them.
std::vector<PictureEncoder::Step> PictureEncoder::list_steps(const TowerPicture& picture,
                                                             const Tensor& out) const {
  const model::VisionConfig& config = vision();
  const model::VisionWeights& weights = projector_->weights().vision();
  std::vector<Step> steps;
  const auto sweep = [&](const auto& make) {
    const auto n_rows = static_cast<uint32_t>(picture.x.shape[0]);
    for (uint32_t first = 0; first < n_rows; first += kStepRows) {
      steps.push_back(make(RowRange{first, std::min(kStepRows, n_rows - first)}));
    }
  };
  sweep([&](RowRange range) {
    const uint64_t n_macs = uint64_t{range.n} * config.tower->n_patch_values() * config.width;
    return Step{n_macs, [&config, &weights, &picture, range](graph::Graph& graph) {
                  model::add_tower_patches(graph, config, weights, picture, range);
                }};
  });
  for (uint32_t layer = 0; layer < config.tower->n_layers; ++layer) {
    sweep([&](RowRange range) {
      return Step{model::count_key_macs(config, range.n),
                  [&config, &weights, &picture, layer, range](graph::Graph& graph) {
                    model::add_tower_keys(graph, config, weights, picture, layer, range);
                  }};
    });
    sweep([&](RowRange range) {
      return Step{model::count_layer_macs(config, range.n, picture.n_patches),
                  [&config, &weights, &picture, layer, range](graph::Graph& graph) {
                    model::add_tower_layer(graph, config, weights, picture, layer, range);
                  }};
    });
  }
  steps.push_back(
      {out.n_elements() * config.width, [&config, &weights, &picture, out](graph::Graph& graph) {
         model::add_tower_tokens(graph, config, weights, picture, out);
       }});
  return steps;
}

Status PictureEncoder::submit(const graph::Graph& graph, uint64_t n_macs) {
  const graph::Plan plan = graph::make_plan(graph);
  KL_ASSIGN(const vk::BufferRange scratch, engine_->reserve_scratch(plan.scratch_bytes));
  graph::ExecutableOptions options;
  options.name = "picture";
  KL_ASSIGN(graph::Executable executable,
            graph::Executable::make(engine_->device(), engine_->pipelines(), graph, plan, scratch,
                                    options));
  Submission next{std::make_unique<graph::Executable>(std::move(executable)), 0, n_macs};
  const VkCommandBuffer commands = next.executable->commands();
  if (!running_) last_done_ = Clock::now();
  KL_ASSIGN(next.value, engine_->device().submit({&commands, 1}));
  // One is recorded while the one before it runs.
  const Status before = finish();
  running_ = std::move(next);
  return before;
}

/// Waits for what runs, and learns how much fits the next submission.
Status PictureEncoder::finish() {
  if (!running_) return {};
  KL_TRY(engine_->device().wait(running_->value));
  const Clock::time_point now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - last_done_).count();
  last_done_ = now;
  const double bound = submission_bound_seconds(engine_->device().caps());
  const double fits = static_cast<double>(running_->n_macs) * bound / std::max(seconds, 1e-6);
  mac_limit_ = static_cast<uint64_t>(std::min(fits, 2.0 * static_cast<double>(mac_limit_)));
  mac_limit_ = std::max(mac_limit_, kFirstMacs);
  running_.reset();
  return {};
}

Status PictureEncoder::encode(uint32_t n_x, uint32_t n_y, std::span<const float> pixels,
                              std::span<float> embeddings) {
  const uint32_t n_tokens = n_x * n_y;
  const uint32_t out_rows = n_tokens < kRowUnit ? n_tokens : padded(n_tokens);
  KL_TRY(make_buffers(padded(n_patches_of(*vision().tower, n_tokens)), padded(n_tokens)));
  write_inputs(n_x, n_y, pixels);
  const TowerPicture picture = make_picture(n_x, n_y);
  const Tensor out = tensor(kOut, DType::f32, Shape{out_rows, projector_->config().target_width});
  mac_limit_ = std::max(mac_limit_, kFirstMacs);
  const std::vector<Step> steps = list_steps(picture, out);
  Status status;
  for (size_t i = 0; i < steps.size() && status.ok();) {
    graph::Graph graph(engine_->device().caps(), &engine_->policy());
    uint64_t n_macs = 0;
    const size_t end = std::min(i + kMaxSteps, steps.size());
    do {
      n_macs += steps[i].n_macs;
      steps[i++].add(graph);
    } while (i < end && n_macs + steps[i].n_macs <= mac_limit_);
    status = submit(graph, n_macs);
  }
  // Commands are not freed while they run.
  const Status last = finish();
  running_.reset();
  KL_TRY(status);
  KL_TRY(last);
  std::memcpy(embeddings.data(), buffers_[kOut]->mapped(), embeddings.size_bytes());
  return {};
}

}  // namespace kimberlite::runtime
