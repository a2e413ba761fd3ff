// Pictures through an encoder: submissions over the steps of model/vision_tower.hpp, each as large
// as the device has time for.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "graph/executable.hpp"
#include "model/vision_tower.hpp"
#include "runtime/projector.hpp"
#include "vk/memory.hpp"

namespace kimberlite::runtime {

class Engine;

class PictureEncoder {
 public:
  /// Both must outlive the encoder; the projector has one and is loaded before the first call.
  PictureEncoder(Engine& engine, const Projector& projector)
      : engine_(&engine), projector_(&projector) {}

  /// What encode() allocates for a picture of `n_tokens`.
  [[nodiscard]] static uint64_t planned_bytes(const model::ProjectorConfig& config,
                                              uint32_t n_tokens);

  /// embeddings [n_y * n_x, target_width] of the tokens' pixels: [n_y * n_x, 3, side, side] in 0 to
  /// 1. Errors: out_of_memory, device.
  Status encode(uint32_t n_x, uint32_t n_y, std::span<const float> pixels,
                std::span<float> embeddings);

 private:
  using Clock = std::chrono::steady_clock;
  /// Part of the work, and what it costs.
  struct Step {
    uint64_t n_macs = 0;
    std::function<void(graph::Graph&)> add;
  };
  /// Commands that are on their way.
  struct Submission {
    std::unique_ptr<graph::Executable> executable;
    uint64_t value = 0;
    uint64_t n_macs = 0;
  };
  Status make_buffers(uint32_t n_rows, uint32_t n_tokens);
  Status make_angles();
  void write_inputs(uint32_t n_x, uint32_t n_y, std::span<const float> pixels);
  [[nodiscard]] model::TowerPicture make_picture(uint32_t n_x, uint32_t n_y) const;
  [[nodiscard]] std::vector<Step> list_steps(const model::TowerPicture& picture,
                                             const graph::Tensor& out) const;
  Status submit(const graph::Graph& graph, uint64_t n_macs);
  Status finish();
  [[nodiscard]] const model::VisionConfig& vision() const { return *projector_->config().vision; }

  /// Rows for the largest picture so far.
  enum Buffer : size_t { kValues, kColumns, kRows, kPlaces, kX, kK, kV, kOut, kAngles, kCount };
  [[nodiscard]] graph::Tensor tensor(Buffer which, graph::DType dtype, graph::Shape shape) const;

  Engine* engine_;  // Borrowed from its owner, like the next.
  const Projector* projector_;
  std::array<std::unique_ptr<vk::Buffer>, kCount> buffers_;
  uint32_t n_rows_ = 0;  // that the buffers have room for
  uint32_t n_tokens_ = 0;
  std::optional<Submission> running_;
  Clock::time_point last_done_;
  uint64_t mac_limit_ = 0;  // of a submission; 0: nothing is known of the device's speed
};

}  // namespace kimberlite::runtime
