// What an engine is opened with.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kimberlite::runtime {

/// What is being done and how far, 0 to 1: never falls for one `what`, and ends with 1 unless that
/// fails. Called from the thread that asked for the work.
using Progress = std::function<void(std::string_view what, double fraction)>;

/// Of the largest budget that Gemma 4 knows.
inline constexpr uint32_t kMaxPictureTokens = 1120;

struct EngineOptions {
  std::string device;  // selector of vk::choose_device
  bool validation = false;
  bool precise = false;  // float32 activations, float32 KV by default
  std::optional<uint32_t> n_gpu_layers;
  std::string cache_dir;  // "" = os::cache_dir(); "none" = nothing on disk
  /// Positions of a segment of the full layers' caches; 0: no segments. Unset: pick_segment_rows.
  std::optional<uint32_t> kv_segment_rows;
  bool draft = true;        // with a drafter, where there is one
  std::string draft_model;  // "" = the one beside the model that fits, if any
  bool media = true;        // pictures and sounds, with a projector, where there is one
  std::string projector;    // "" = the one beside the model that fits, if any
  /// Tokens of the largest picture: the rings of the sliding layers have room for it.
  uint32_t max_picture_tokens = kMaxPictureTokens;
  /// Sessions time the ways of computing the same bits that are not known yet. Unset: on GPUs. A
  /// CPU driver compiles for longer than it gains.
  std::optional<bool> autotune;
  bool probe = true;  // check every kernel variant against the CPU at the first use of a driver
  /// For a device that executes nothing (tools/driver-lab): weights have their places and are never
  /// read, and pipelines keep what the driver's compiler says of them.
  bool dry = false;
  Progress progress;
};

}  // namespace kimberlite::runtime
