// Passes of the encoder of sounds: a sound of up to 30 s is one unit, whose work is cut between
// layers so that no submission takes long.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "graph/executable.hpp"
#include "graph/tensor.hpp"
#include "runtime/projector.hpp"
#include "vk/memory.hpp"

namespace kimberlite::runtime {

class Engine;

class SoundEncoder {
 public:
  /// Both must outlive the encoder; the projector has a conformer and is loaded before encode().
  SoundEncoder(Engine& engine, const Projector& projector)
      : engine_(&engine), projector_(&projector) {}

  /// Of the longest sound: 30 s.
  static constexpr uint32_t kMaxFrames = 3000;

  /// Of the buffers.
  [[nodiscard]] static uint64_t planned_bytes(const model::ProjectorConfig& config);

  [[nodiscard]] static constexpr uint32_t count_tokens(uint32_t n_frames) {
    return (n_frames + 3) / 4;
  }

  /// Embeddings [count_tokens, target_width] of mel frames [n, 128]. Errors: out_of_memory, device.
  Status encode(std::span<const float> frames, std::span<float> out);

  /// Of the last call.
  [[nodiscard]] uint32_t n_submissions() const { return n_submissions_; }

 private:
  /// The executables of one number of rows: convolutions, each layer, projection.
  using Parts = std::vector<graph::Executable>;
  Status make_buffers();
  Result<const Parts*> get(uint32_t n_rows);
  Result<graph::Executable> make_part(uint32_t n_rows, uint32_t part);
  Status submit(const Parts& parts);

  Engine* engine_;  // Borrowed from its owner, like the next.
  const Projector* projector_;
  std::unique_ptr<vk::Buffer> frames_;
  std::unique_ptr<vk::Buffer> sizes_;
  std::unique_ptr<vk::Buffer> rows_;  // two residual streams, in turn
  std::unique_ptr<vk::Buffer> out_;
  std::map<uint32_t, Parts> parts_;
  uint32_t n_submissions_ = 0;
};

}  // namespace kimberlite::runtime
