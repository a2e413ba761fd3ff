// Engine: a device with a model on it. Owns everything that sessions share.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "formats/gguf.hpp"
#include "graph/executable.hpp"
#include "kernels/kv_layout.hpp"
#include "kernels/rope_table.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"
#include "runtime/drafter.hpp"
#include "runtime/engine_options.hpp"
#include "runtime/kv_cache.hpp"
#include "runtime/media_embedder.hpp"
#include "runtime/memory_plan.hpp"
#include "runtime/open_device.hpp"
#include "runtime/probe.hpp"
#include "runtime/projector.hpp"
#include "runtime/tuning.hpp"
#include "text/chat.hpp"
#include "text/tokenizer.hpp"
#include "text/vocabulary.hpp"
#include "vk/device.hpp"
#include "vk/pipeline.hpp"

namespace kimberlite::runtime {

/// Where the weights went and what is left, for the user.
struct MemoryReport {
  uint64_t usable_bytes = 0;
  uint64_t device_weight_bytes = 0;
  uint64_t host_weight_bytes = 0;
  uint64_t table_bytes = 0;  // per-layer embeddings: in host-visible memory on every device
  uint32_t n_gpu_layers = 0;
};

/// The RoPE tables of both kinds of layer (kernels::make_rope_table), shared by all sessions.
struct RopeTensors {
  graph::Tensor sliding;
  graph::Tensor full;
};

struct SessionPlan {
  uint32_t context = 0;
  uint64_t snapshot_bytes = 0;  // of all snapshots of the rings together
};

class Engine {
 public:
  /// Errors: io, bad_file, unsupported, no_device, device, out_of_memory.
  static Result<std::unique_ptr<Engine>> open(const std::string& path,
                                              const EngineOptions& options);
  /// The files are read and the device is open; nothing is checked or loaded: enough for
  /// probe_request(). Errors: as open.
  static Result<std::unique_ptr<Engine>> prepare(const std::string& path,
                                                 const EngineOptions& options);
  ~Engine();

  [[nodiscard]] const OpenDevice& opened() const { return open_; }
  [[nodiscard]] vk::Device& device() const { return *open_.device; }
  [[nodiscard]] vk::PipelineCache& pipelines() const { return *open_.pipelines; }
  [[nodiscard]] const model::ModelConfig& config() const { return config_; }
  [[nodiscard]] const model::Weights& weights() const { return *weights_; }
  /// nullptr where the model generates alone.
  [[nodiscard]] const Drafter* drafter() const { return drafter_ ? &*drafter_ : nullptr; }
  /// Why there is no drafter.
  [[nodiscard]] const std::string& no_drafter_reason() const { return no_drafter_reason_; }
  /// nullptr where the model knows text alone.
  [[nodiscard]] const Projector* projector() const { return projector_ ? &*projector_ : nullptr; }
  /// Why there is no projector.
  [[nodiscard]] const std::string& no_projector_reason() const { return no_projector_reason_; }
  /// Embeddings of pictures and sounds; with a projector alone.
  [[nodiscard]] MediaEmbedder& media() const { return *media_; }
  /// 0 where there are no pictures.
  [[nodiscard]] uint32_t max_picture_tokens() const { return max_picture_tokens_; }
  /// The most rows of a prefill pass.
  [[nodiscard]] uint32_t pass_rows() const {
    return largest_pass(config_.has_picture_blocks() ? max_picture_tokens_ : 0);
  }
  [[nodiscard]] const RopeTensors& rope() const { return rope_; }
  [[nodiscard]] const formats::GgufFile& file() const { return file_; }
  [[nodiscard]] bool precise() const { return linear_.precise; }
  [[nodiscard]] uint32_t kv_segment_rows() const { return kv_segment_rows_; }
  /// Which kernel variants this driver gets right, and which ways were the fastest; for every
  /// graph.
  [[nodiscard]] const graph::VariantPolicy& policy() const { return tuning_; }
  [[nodiscard]] Tuning& tuning() { return tuning_; }
  /// Whether sessions time what is not known yet.
  [[nodiscard]] bool autotunes() const;
  /// For the next start. A file that cannot be written costs time there and nothing else.
  void save_tuning() const;
  /// What the user should know: variants and classes that are off.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return probe_report_.warnings; }
  [[nodiscard]] const MemoryReport& memory() const { return memory_; }
  [[nodiscard]] const std::string& device_reason() const { return open_.reason; }
  [[nodiscard]] const std::vector<int32_t>& suppressed_ids() const { return suppressed_ids_; }
  [[nodiscard]] double load_seconds() const { return load_seconds_; }
  [[nodiscard]] bool validated() const { return validated_; }

  /// nullptr for a file without a vocabulary.
  [[nodiscard]] const text::Tokenizer* tokenizer() const { return tokenizer_.get(); }
  /// nullptr for a vocabulary without turns.
  [[nodiscard]] const text::ChatFormat* chat() const { return chat_.get(); }

  /// What a session over `context` positions takes; 0 = pick one. Errors: out_of_memory.
  Result<SessionPlan> plan_session(kernels::KvType type, uint32_t context) const;

  /// Every kernel that the model uses on this device, with caches of this type.
  [[nodiscard]] ProbeRequest probe_request(kernels::KvType type) const;

  /// Multiply-accumulates with weights at one position of a prompt, by their arithmetic.
  [[nodiscard]] std::map<kernels::LinearClass, uint64_t> position_macs() const;

  /// Checks the attention kernels for caches of this type, unless that has been done. Errors: as
  /// probe().
  Status check_kernels(kernels::KvType type, const Progress& progress = {});

  /// Scratch of at least that size, shared by all executables; grows when no work is in flight.
  Result<vk::BufferRange> reserve_scratch(uint64_t n_bytes);

 private:
  explicit Engine(formats::GgufFile file) : file_(std::move(file)) {}
  MemoryDemand demand(const model::WeightPlan& weights, kernels::KvType type) const;
  Status open_device(const EngineOptions& options);
  Status check_driver(const EngineOptions& options);
  Status load_weights(const EngineOptions& options);
  Status make_rope_tables();
  Status load_text();
  Status open_drafter(const EngineOptions& options);
  Status open_projector(const EngineOptions& options);
  Status load_companions(const EngineOptions& options, model::LoadOptions& load);
  Status plan_weights(uint32_t n_gpu_layers);

  formats::GgufFile file_;
  model::ModelConfig config_;
  OpenDevice open_;
  std::unique_ptr<model::Weights> weights_;
  std::optional<Drafter> drafter_;
  std::string no_drafter_reason_;
  std::optional<Projector> projector_;
  std::string no_projector_reason_;
  uint32_t max_picture_tokens_ = 0;
  std::vector<std::unique_ptr<vk::Buffer>> tables_;
  std::vector<std::unique_ptr<vk::Buffer>> scratch_;  // the last one is the current one
  std::unique_ptr<MediaEmbedder> media_;
  RopeTensors rope_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<text::ChatFormat> chat_;
  std::vector<int32_t> suppressed_ids_;
  MemoryReport memory_;
  model::WeightPlan weight_plan_;
  model::WeightPlan drafter_plan_;    // empty without one
  model::WeightPlan projector_plan_;  // empty without one
  double load_seconds_ = 0;
  model::LinearPolicy linear_;
  ProbeReport probe_report_;
  Tuning tuning_{probe_report_.disabled};
  uint32_t kv_segment_rows_ = 0;
  bool probe_ = true;
  std::optional<bool> autotune_;
  bool validated_ = false;
};

}  // namespace kimberlite::runtime
