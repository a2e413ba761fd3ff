// DrafterConfig: what a GGUF file says about a drafter (an "assistant"), the small model that
// guesses the next tokens of a target from the target's hidden states, keys and values.
#pragma once

#include <cstdint>

#include "base/numeric.hpp"
#include "base/result.hpp"
#include "formats/gguf.hpp"
#include "kernels/packed_matrix.hpp"
#include "model/config.hpp"

namespace kimberlite::model {

/// A sparse head (E2B, E4B): the tokens are in `n` clusters of `n_tokens`, and the head computes
/// logits for those of the `n_used` best ones alone. n = 0: a dense head.
struct ClusterConfig {
  uint32_t n = 0;
  uint32_t n_used = 0;
  uint32_t n_tokens = 0;

  /// Rows of a cluster in the packed head: whole panels.
  [[nodiscard]] uint32_t n_rows() const {
    return static_cast<uint32_t>(align_up<uint64_t>(n_tokens, kernels::kPanelRows));
  }
};

struct DrafterConfig {
  ModelConfig text;           // whose layers read K and V of the target
  uint32_t target_width = 0;  // of the hidden states that it takes and makes
  ClusterConfig clusters;
};

/// Layers of the target whose K and V the drafter reads: the last of each kind that have their own.
struct DonorLayers {
  uint32_t sliding = 0;
  uint32_t full = 0;
};

/// Whether the file says that it holds a drafter, in any of the spellings.
[[nodiscard]] bool is_drafter(const formats::GgufFile& file);

/// Errors: bad_file (a missing, mistyped or impossible value, naming key and values), unsupported
/// (another architecture, or what no drafter has).
Result<DrafterConfig> read_drafter_config(const formats::GgufFile& file);

/// Whether the drafter was made for such a target. Errors: invalid_argument, naming what differs
/// and both values.
Result<DonorLayers> check_pair(const DrafterConfig& drafter, const ModelConfig& target);

}  // namespace kimberlite::model
