#include "runtime/engine.hpp"

#include <fmt/format.h>

#include <chrono>

#include "base/numeric.hpp"
#include "base/os.hpp"
#include "kernels/kv_layout.hpp"
#include "runtime/kv_cache.hpp"
#include "vk/plan.hpp"

namespace kimberlite::runtime {
namespace {

/// Activations, tables, staging and logits of the largest passes: far below this for the 12B.
constexpr uint64_t kScratchReserve = 256 * kMiB;

Result<std::string> pipeline_cache_file(const std::string& cache_dir,
                                        const vk::DeviceSnapshot& snapshot) {
  if (cache_dir == "none") return std::string();
  std::string dir = cache_dir;
  if (dir.empty()) {
    KL_ASSIGN(dir, os::cache_dir());
  }
  return fmt::format("{}/pipelines-{}.bin", dir, snapshot.device_uuid);
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(const std::string& path,
                                             const EngineOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  KL_ASSIGN(formats::GgufFile file, formats::GgufFile::open(path));
  std::unique_ptr<Engine> engine(new Engine(std::move(file)));
  engine->precise_ = options.precise;
  KL_ASSIGN(engine->config_, model::read_config(engine->file_));
  KL_TRY(engine->load_text());
  KL_TRY(engine->open_device(options));
  KL_TRY(engine->load_weights(options));
  KL_TRY(engine->make_rope_tables());
  engine->load_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return engine;
}

Engine::~Engine() {
  if (pipelines_ == nullptr) return;
  // A cache that cannot be written costs time at the next start and nothing else.
  [[maybe_unused]] const Status saved = pipelines_->save();
}

Status Engine::open_device(const EngineOptions& options) {
  KL_ASSIGN(instance_, vk::Instance::make({.validation = options.validation}));
  validated_ = options.validation;
  const std::vector<vk::DeviceSnapshot> snapshots = instance_->snapshots();
  uint64_t file_bytes = 0;
  for (const formats::TensorInfo& tensor : file_.tensors()) file_bytes += tensor.data.size();
  const uint64_t host_bytes = os::physical_memory_bytes();
  KL_ASSIGN(const vk::DeviceChoice choice,
            vk::choose_device(snapshots, options.device, file_bytes, host_bytes));
  device_reason_ = choice.reason;
  KL_ASSIGN(const vk::DevicePlan plan, vk::plan_device(snapshots[choice.index]));
  KL_ASSIGN(device_, vk::Device::make(*instance_, choice.index, plan));
  memory_.usable_bytes = vk::usable_bytes(snapshots[choice.index], host_bytes);
  KL_ASSIGN(const std::string cache_file,
            pipeline_cache_file(options.cache_dir, snapshots[choice.index]));
  KL_ASSIGN(pipelines_, vk::PipelineCache::make(*device_, cache_file));
  return {};
}

MemoryDemand Engine::demand(const model::WeightPlan& weights, kernels::KvType type) const {
  const KvDemand kv = kv_demand(config_, type);
  MemoryDemand demand;
  demand.usable_bytes = memory_.usable_bytes;
  demand.unified_memory = device_->caps().unified_memory;
  demand.layer_bytes = weights.layer_bytes;
  demand.shared_bytes = weights.shared_bytes;
  demand.kv_fixed_bytes = kv.fixed_bytes;
  demand.kv_position_bytes = kv.position_bytes;
  demand.scratch_bytes = kScratchReserve;
  demand.max_context = kv_context_limit(config_, type, device_->caps());
  return demand;
}

Result<uint32_t> Engine::largest_context(kernels::KvType type) const {
  return pick_context(demand(weight_plan_, type), memory_.n_gpu_layers);
}

Status Engine::load_weights(const EngineOptions& options) {
  KL_ASSIGN(weight_plan_,
            model::Weights::plan(file_, config_, device_->caps(), precise_, config_.n_layers));
  const MemoryDemand needs =
      demand(weight_plan_, precise_ ? kernels::KvType::f32 : kernels::KvType::f16);
  KL_ASSIGN(memory_.n_gpu_layers, pick_gpu_layers(needs, options.n_gpu_layers));
  KL_TRY(pick_context(needs, memory_.n_gpu_layers));

  model::LoadOptions load;
  load.n_gpu_layers = memory_.n_gpu_layers;
  load.precise = precise_;
  if (options.progress) {
    load.progress = [&](double fraction) { options.progress("loading weights", fraction); };
  }
  KL_ASSIGN(weights_, model::Weights::load(file_, config_, *device_, load));
  KL_ASSIGN(const model::WeightPlan placed,
            model::Weights::plan(file_, config_, device_->caps(), precise_, memory_.n_gpu_layers));
  memory_.device_weight_bytes = placed.device_bytes;
  memory_.host_weight_bytes = placed.host_bytes;
  return {};
}

Status Engine::make_rope_tables() {
  const auto make = [&](const model::RopeConfig& rope) -> Result<graph::Tensor> {
    const std::vector<float> values =
        kernels::make_rope_table({rope.head_dim, rope.n_pairs, rope.theta});
    KL_ASSIGN(vk::Buffer buffer, vk::Buffer::make(*device_, values.size() * sizeof(float),
                                                  vk::MemoryKind::device, "RoPE table"));
    tables_.push_back(std::make_unique<vk::Buffer>(std::move(buffer)));
    const vk::BufferRange range{tables_.back().get(), 0, tables_.back()->n_bytes()};
    KL_TRY(vk::write_range(*device_, range, values.data(), range.n_bytes));
    return graph::Tensor::of(range, graph::DType::f32,
                             graph::Shape{2 * kernels::kRopeTableRows, 2 * rope.n_pairs});
  };
  KL_ASSIGN(rope_.sliding, make(config_.rope_sliding));
  KL_ASSIGN(rope_.full, make(config_.rope_full));
  return {};
}

Status Engine::load_text() {
  if (!file_.has("tokenizer.ggml.model")) return {};
  KL_ASSIGN(const text::Vocabulary vocabulary, text::read_vocabulary(file_));
  if (vocabulary.tokens.size() != config_.n_vocab) {
    return file_.key_error("tokenizer.ggml.tokens",
                           fmt::format("has {} entries, but token_embd.weight has {} rows",
                                       vocabulary.tokens.size(), config_.n_vocab));
  }
  KL_ASSIGN(text::Tokenizer tokenizer, text::Tokenizer::make(vocabulary));
  tokenizer_ = std::make_unique<text::Tokenizer>(std::move(tokenizer));
  for (const int32_t id : vocabulary.suppressed_ids) {
    if (id >= 0 && static_cast<uint32_t>(id) < config_.n_vocab) suppressed_ids_.push_back(id);
  }
  auto chat = text::ChatFormat::make(*tokenizer_);
  if (chat.ok()) chat_ = std::make_unique<text::ChatFormat>(std::move(chat).value());
  return {};
}

Result<vk::BufferRange> Engine::reserve_scratch(uint64_t n_bytes) {
  if (scratch_.empty() || scratch_.back()->n_bytes() < n_bytes) {
    KL_ASSIGN(vk::Buffer buffer, vk::Buffer::make(*device_, std::max<uint64_t>(n_bytes, kMiB),
                                                  vk::MemoryKind::device, "scratch"));
    // Older executables keep theirs: they were recorded with it.
    scratch_.push_back(std::make_unique<vk::Buffer>(std::move(buffer)));
  }
  return vk::BufferRange{scratch_.back().get(), 0, scratch_.back()->n_bytes()};
}

}  // namespace kimberlite::runtime
