// A drafter beside its model: found in the model's folder or named, checked against the model, and
// put on the model's device.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "formats/gguf.hpp"
#include "model/drafter_config.hpp"
#include "model/drafter_weights.hpp"

namespace kimberlite::runtime {

class Drafter {
 public:
  /// Reads and checks; nothing is on a device yet. Errors: io, bad_file, unsupported (no drafter);
  /// invalid_argument where it was not made for such a model, naming what differs and both values.
  static Result<Drafter> open(const std::string& path, const model::ModelConfig& target);
  /// The same of a file that is open already.
  static Result<Drafter> make(formats::GgufFile file, const model::ModelConfig& target);

  /// What loading will take, and which matrices it will multiply. Errors: bad_file, unsupported.
  Result<model::WeightPlan> plan(const vk::Caps& caps, const model::LinearPolicy& linear) const {
    return model::DrafterWeights::plan(file_, config_, caps, linear);
  }
  /// Errors: out_of_memory, device.
  Status load(vk::Device& device, const model::LoadOptions& options);

  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] const model::DrafterConfig& config() const { return config_; }
  /// Layers of the model whose keys and values it reads.
  [[nodiscard]] const model::DonorLayers& donors() const { return donors_; }
  /// After load().
  [[nodiscard]] const model::DrafterWeights& weights() const { return *weights_; }

 private:
  Drafter(formats::GgufFile file, model::DrafterConfig config, model::DonorLayers donors)
      : file_(std::move(file)), config_(std::move(config)), donors_(donors) {}

  formats::GgufFile file_;
  model::DrafterConfig config_;
  model::DonorLayers donors_;
  std::unique_ptr<model::DrafterWeights> weights_;
};

/// What a look around a model's file found.
struct DrafterSearch {
  std::optional<Drafter> drafter;
  std::string reason;  // why there is none
};

/// The first drafter, by name, that lies in the folder of `model_path` and fits `target`.
[[nodiscard]] DrafterSearch find_drafter(const std::string& model_path,
                                         const model::ModelConfig& target);

}  // namespace kimberlite::runtime
