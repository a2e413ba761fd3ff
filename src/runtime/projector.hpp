// A projector beside its model: found in the model's folder or named, checked against the model,
// and put on the model's device.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "formats/gguf.hpp"
#include "model/projector_config.hpp"
#include "model/projector_weights.hpp"

namespace kimberlite::runtime {

class Projector {
 public:
  /// Reads and checks; nothing is on a device yet. Errors: io, bad_file, unsupported (no projector,
  /// or one of another type, by its name); invalid_argument where it was not made for such a model.
  static Result<Projector> open(const std::string& path, const model::ModelConfig& target);
  /// The same of a file that is open already.
  static Result<Projector> make(formats::GgufFile file, const model::ModelConfig& target);

  /// What loading will take, and which matrices it will multiply. Its products take float32
  /// activations, whatever the model's do: there are few of them, and a picture's small differences
  /// matter. Errors: bad_file, unsupported.
  Result<model::WeightPlan> plan(const vk::Caps& caps) const;
  /// Errors: out_of_memory, device.
  Status load(vk::Device& device, const model::LoadOptions& options);

  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] const model::ProjectorConfig& config() const { return config_; }
  /// After load().
  [[nodiscard]] const model::ProjectorWeights& weights() const { return *weights_; }

 private:
  Projector(formats::GgufFile file, model::ProjectorConfig config)
      : file_(std::move(file)), config_(std::move(config)) {}

  formats::GgufFile file_;
  model::ProjectorConfig config_;
  std::unique_ptr<model::ProjectorWeights> weights_;
};

/// What a look around a model's file found.
struct ProjectorSearch {
  std::optional<Projector> projector;
  std::string reason;  // why there is none
};

/// The first projector, by name, that lies in the folder of `model_path` and fits `target`.
[[nodiscard]] ProjectorSearch find_projector(const std::string& model_path,
                                             const model::ModelConfig& target);

}  // namespace kimberlite::runtime
