#include "model/drafter_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "kernels/experts.hpp"

namespace kimberlite::model {
namespace {

using formats::GgufFile;

constexpr std::array<std::string_view, 3> kArchitectures{"gemma4-assistant", "gemma4_assistant",
                                                         "gemma4_mtp"};
constexpr std::string_view kCentroids = "masked_embd_centroids.weight";
constexpr std::string_view kOrdering = "masked_embd_ordering";
/// Clusters that released drafters use, where a file does not say it.
constexpr uint32_t kUsualClustersUsed = 32;
/// The choice walks over all clusters once for each, within Caps::max_loop_rounds.
constexpr uint32_t kMostClustersUsed = 64;

Error bad_file(const GgufFile& file, std::string_view what) {
  return {ErrorCode::bad_file, fmt::format("{}: {}", file.path(), what)};
}

Result<ClusterConfig> read_clusters(const GgufFile& file, uint32_t n_vocab) {
  ClusterConfig clusters;
  const formats::TensorInfo* centroids = file.find_tensor(kCentroids);
  const bool has_ordering = file.find_tensor(kOrdering) != nullptr;
  if (centroids == nullptr && !has_ordering) return clusters;
  if (centroids == nullptr || !has_ordering) {
    return bad_file(file, fmt::format("has {}, but no {}", has_ordering ? kOrdering : kCentroids,
                                      has_ordering ? kCentroids : kOrdering));
  }
  const uint64_t n = centroids->ne[1];
  if (n == 0 || n > kernels::kMostExperts) {
    return bad_file(file, fmt::format("{} has {} rows, expected 1 to {}", kCentroids, n,
                                      kernels::kMostExperts));
  }
  if (n_vocab % n != 0) {
    return bad_file(
        file, fmt::format("{} has {} rows, which do not divide {} tokens", kCentroids, n, n_vocab));
  }
  clusters.n = static_cast<uint32_t>(n);
  clusters.n_tokens = n_vocab / clusters.n;
  const std::string key = config_key(file, "centroid_top_k");
  KL_ASSIGN(clusters.n_used, file.u32_or(key, std::min(kUsualClustersUsed, clusters.n)));
  const uint32_t most = std::min(kMostClustersUsed, clusters.n);
  if (clusters.n_used == 0 || clusters.n_used > most) {
    return file.key_error(key, fmt::format("is {}, expected 1 to {}", clusters.n_used, most));
  }
  return clusters;
}

/// What the text part of a file could say and no drafter has.
Status check_layers(const GgufFile& file, const ModelConfig& text) {
  for (const char* name : {"nextn_predict_layers", "attention.shared_kv_layers"}) {
    const std::string key = config_key(file, name);
    KL_ASSIGN(const uint32_t n, file.u32_or(key, text.n_layers));
    if (n != text.n_layers) {
      return file.key_error(key, fmt::format("is {}, expected all {} layers", n, text.n_layers));
    }
  }
  const auto refuse = [&](const char* name, uint32_t value) -> Status {
    return Error{ErrorCode::unsupported, fmt::format("{}: {} is {}, a drafter has none",
                                                     file.path(), config_key(file, name), value)};
  };
  if (text.per_layer_width != 0) {
    return refuse("embedding_length_per_layer_input", text.per_layer_width);
  }
  if (text.experts.n != 0) return refuse("expert_count", text.experts.n);
  return {};
}

Result<uint32_t> read_target_width(const GgufFile& file) {
  const std::string key = config_key(file, "embedding_length_out");
  KL_ASSIGN(const uint32_t width, file.u32(key));
  if (width == 0 || width % 32 != 0 || width > 1u << 17) {
    return file.key_error(
        key, fmt::format("is {}, expected a multiple of 32 up to {}", width, 1u << 17));
  }
  return width;
}

/// Collects the first difference between a drafter and a target.
class PairCheck {
 public:
  PairCheck(const DrafterConfig& drafter, const ModelConfig& target)
      : drafter_(drafter), target_(target) {}

  template <typename T>
  void expect_equal(std::string_view what, const T& drafter, const T& target) {
    if (drafter != target) fail(fmt::format("{} is {} there and {} here", what, drafter, target));
  }
  void expect_equal(std::string_view kind, const RopeConfig& drafter, const RopeConfig& target) {
    expect_equal(fmt::format("head size of {} layers", kind), drafter.head_dim, target.head_dim);
    expect_equal(fmt::format("RoPE base of {} layers", kind), drafter.theta, target.theta);
    expect_equal(fmt::format("number of rotating pairs in {} layers", kind), drafter.n_pairs,
                 target.n_pairs);
  }

  /// The target's last layer of that kind with K and V, whose shape those of the drafter want.
  uint32_t find_donor(LayerKind kind, std::string_view name) {
    std::optional<uint32_t> donor;
    for (uint32_t i = 0; i < target_.n_kv_layers; ++i) {
      if (target_.layers[i].kind == kind) donor = i;
    }
    for (const LayerConfig& layer : drafter_.text.layers) {
      if (layer.kind != kind) continue;
      if (!donor) {
        fail(fmt::format("it has {} layers, and the target none with keys and values", name));
        break;
      }
      expect_equal(fmt::format("number of key and value heads of {} layers", name),
                   layer.n_kv_heads, target_.layers[*donor].n_kv_heads);
    }
    return donor.value_or(0);
  }

  [[nodiscard]] Status status() const {
    if (difference_.empty()) return {};
    return Error{ErrorCode::invalid_argument,
                 fmt::format("the drafter '{}' is not one for '{}': {}", drafter_.text.name,
                             target_.name, difference_)};
  }

 private:
  void fail(std::string difference) {
    if (difference_.empty()) difference_ = std::move(difference);
  }

  const DrafterConfig& drafter_;  // Borrowed from the caller, like the next.
  const ModelConfig& target_;
  std::string difference_;
};

}  // namespace

bool is_drafter(const GgufFile& file) {
  const auto architecture = file.str("general.architecture");
  return architecture.ok() &&
         std::ranges::find(kArchitectures, *architecture) != kArchitectures.end();
}

Result<DrafterConfig> read_drafter_config(const GgufFile& file) {
  KL_ASSIGN(const std::string_view architecture, file.str("general.architecture"));
  if (!is_drafter(file)) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: general.architecture is '{}', expected '{}'", file.path(),
                             architecture, kArchitectures[0])};
  }
  DrafterConfig config;
  KL_ASSIGN(config.text, read_text_config(file));
  KL_TRY(check_layers(file, config.text));
  config.text.softcap = 0;  // transformers has none for drafters, whatever a file says
  config.text.n_kv_layers = 0;
  for (LayerConfig& layer : config.text.layers) layer.kv_layer = LayerConfig::kOtherModel;
  KL_ASSIGN(config.target_width, read_target_width(file));
  KL_ASSIGN(config.clusters, read_clusters(file, config.text.n_vocab));
  return config;
}

Result<DonorLayers> check_pair(const DrafterConfig& drafter, const ModelConfig& target) {
  PairCheck check(drafter, target);
  const ModelConfig& text = drafter.text;
  check.expect_equal("width of hidden states", drafter.target_width, target.width);
  check.expect_equal("vocabulary size", text.n_vocab, target.n_vocab);
  check.expect_equal("sliding window", text.window, target.window);
  check.expect_equal("sliding", text.rope_sliding, target.rope_sliding);
  check.expect_equal("full", text.rope_full, target.rope_full);
  DonorLayers donors;
  donors.sliding = check.find_donor(LayerKind::sliding, "sliding");
  donors.full = check.find_donor(LayerKind::full, "full");
  KL_TRY(check.status());
  return donors;
}

}  // namespace kimberlite::model
