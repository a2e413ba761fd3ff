#include "runtime/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/numeric.hpp"
#include "kernels/kv_layout.hpp"
#include "runtime/probe_cache.hpp"
#include "runtime/ring_snapshot.hpp"

namespace kimberlite::runtime {
namespace {

/// Activations, tables, staging and logits of the largest passes: far below this for the 12B.
constexpr uint64_t kScratchReserve = 256 * kMiB;

/// Adds the attention of each kind of layer once.
void add_attention_kinds(const model::ModelConfig& config, kernels::OwnKey own_key, bool segments,
                         std::vector<AttentionKind>& kinds) {
  for (const model::LayerConfig& layer : config.layers) {
    const model::RopeConfig& rope = config.rope(layer.kind);
    const bool sliding = layer.kind == model::LayerKind::sliding;
    const AttentionKind kind{layer.n_heads,
                             layer.n_kv_heads,
                             sliding ? config.window : 0,
                             {rope.head_dim, rope.n_pairs, rope.theta},
                             config.n_kv_layers < config.n_layers,
                             segments && !sliding,
                             own_key};
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
  }
}

/// nullptr without an encoder of pictures.
const model::TowerConfig* find_tower(const std::optional<Projector>& projector) {
  if (!projector || !projector->config().vision) return nullptr;
  const auto& tower = projector->config().vision->tower;
  return tower ? &*tower : nullptr;
}

/// The same of sounds.
const model::ConformerConfig* find_conformer(const std::optional<Projector>& projector) {
  if (!projector || !projector->config().audio) return nullptr;
  const auto& conformer = projector->config().audio->conformer;
  return conformer ? &*conformer : nullptr;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::prepare(const std::string& path,
                                                const EngineOptions& options) {
  KL_ASSIGN(formats::GgufFile file, formats::GgufFile::open(path));
  std::unique_ptr<Engine> engine(new Engine(std::move(file)));
  engine->linear_.precise = options.precise;
  engine->probe_ = options.probe;
  engine->autotune_ = options.dry ? false : options.autotune;
  KL_ASSIGN(engine->config_, model::read_config(engine->file_));
  KL_TRY(engine->load_text());
  KL_TRY(engine->open_drafter(options));
  KL_TRY(engine->open_projector(options));
  KL_TRY(engine->open_device(options));
  KL_TRY(engine->plan_weights(engine->config_.n_layers));
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::open(const std::string& path,
                                             const EngineOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  KL_ASSIGN(std::unique_ptr<Engine> engine, prepare(path, options));
  KL_TRY(engine->check_driver(options));
  KL_TRY(engine->load_weights(options));
  KL_TRY(engine->make_rope_tables());
  engine->load_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return engine;
}

Engine::~Engine() {
  if (open_.pipelines == nullptr) return;
  // A cache that cannot be written costs time at the next start and nothing else.
  [[maybe_unused]] const Status saved = open_.pipelines->save();
}

Status Engine::open_device(const EngineOptions& options) {
  DeviceRequest request{options.device, options.validation, 0, options.cache_dir};
  for (const formats::TensorInfo& tensor : file_.tensors()) {
    request.needed_bytes += tensor.data.size();
  }
  request.plan.pipeline_statistics = options.dry;
  KL_ASSIGN(open_, runtime::open_device(request));
  validated_ = options.validation;
  kv_segment_rows_ = options.kv_segment_rows.value_or(pick_segment_rows(device().caps()));
  memory_.usable_bytes = open_.usable_bytes;
  if (autotunes()) {
    tuning_.read(open_.tuning_file, probe_key(device().snapshot(), device().caps()));
  }
  return {};
}

bool Engine::autotunes() const {
  const vk::Device& device = *open_.device;
  const auto& queue = device.snapshot().queue_families[device.plan().queue_family];
  return autotune_.value_or(!device.caps().is_cpu) && queue.timestamp_bits > 0;
}

void Engine::save_tuning() const {
  if (open_.tuning_file.empty()) return;
  [[maybe_unused]] const Status saved =
      tuning_.write(open_.tuning_file, probe_key(device().snapshot(), device().caps()));
}

Status Engine::open_drafter(const EngineOptions& options) {
  if (!options.draft) {
    no_drafter_reason_ = "drafting was turned off";
  } else if (!options.draft_model.empty()) {
    KL_ASSIGN(drafter_, Drafter::open(options.draft_model, config_));
  } else {
    DrafterSearch search = find_drafter(file_.path(), config_);
    drafter_ = std::move(search.drafter);
    no_drafter_reason_ = std::move(search.reason);
  }
  return {};
}

Status Engine::open_projector(const EngineOptions& options) {
  if (!options.media) {
    no_projector_reason_ = "pictures and sounds were turned off";
  } else if (!options.projector.empty()) {
    KL_ASSIGN(projector_, Projector::open(options.projector, config_));
  } else {
    ProjectorSearch search = find_projector(file_.path(), config_);
    projector_ = std::move(search.projector);
    no_projector_reason_ = std::move(search.reason);
  }
  if (!projector_) return {};
  media_ = std::make_unique<MediaEmbedder>(*this, *projector_);
  if (projector_->config().vision) max_picture_tokens_ = options.max_picture_tokens;
  return {};
}

Status Engine::plan_weights(uint32_t n_gpu_layers) {
  KL_ASSIGN(weight_plan_,
            model::Weights::plan(file_, config_, device().caps(), linear_, n_gpu_layers));
  if (drafter_) {
    KL_ASSIGN(drafter_plan_, drafter_->plan(device().caps(), linear_));
  }
  if (projector_) {
    KL_ASSIGN(projector_plan_, projector_->plan(device().caps()));
  }
  return {};
}

/// Before the weights are planned: their layout follows the arithmetic that the driver gets right.
Status Engine::check_driver(const EngineOptions& options) {
  KL_TRY(check_kernels(precise() ? kernels::KvType::f32 : kernels::KvType::f16, options.progress));
  linear_.disabled = probe_report_.disabled_classes;
  return {};
}

ProbeRequest Engine::probe_request(kernels::KvType type) const {
  ProbeRequest request;
  for (const model::WeightPlan* plan : {&weight_plan_, &drafter_plan_, &projector_plan_}) {
    request.matrices.insert(plan->matrices.begin(), plan->matrices.end());
    request.tables.insert(plan->tables.begin(), plan->tables.end());
    request.experts.insert(plan->experts.begin(), plan->experts.end());
    request.gated.insert(plan->gated.begin(), plan->gated.end());
  }
  const bool segments = kv_segment_rows_ != 0;
  add_attention_kinds(config_, kernels::OwnKey::seen, segments, request.attention);
  request.drafts = drafter_.has_value();
  if (drafter_) {
    add_attention_kinds(drafter_->config().text, kernels::OwnKey::hidden, segments,
                        request.attention);
  }
  request.media = projector_.has_value();
  if (const model::TowerConfig* tower = find_tower(projector_)) {
    request.tower_head_dim = tower->head_dim;
  }
  request.conformer = find_conformer(projector_) != nullptr;
  request.kv_type = type;
  return request;
}

Status Engine::check_kernels(kernels::KvType type, const Progress& progress) {
  if (!probe_) return {};
  ProbeRequest request = probe_request(type);
  request.known = probe_report_;
  request.cache_file = open_.probe_file;
  if (progress) {
    request.progress = [&](double fraction) { progress("checking the driver", fraction); };
  }
  KL_ASSIGN(probe_report_, probe(device(), pipelines(), request));
  return {};
}

std::map<kernels::LinearClass, uint64_t> Engine::position_macs() const {
  std::map<kernels::LinearClass, uint64_t> macs = weight_plan_.position_macs;
  for (const auto& [linear_class, n_macs] : weight_plan_.expert_macs) {
    macs[linear_class] += n_macs / config_.experts.n * config_.experts.n_used;
  }
  return macs;
}

MemoryDemand Engine::demand(const model::WeightPlan& weights, kernels::KvType type) const {
  const KvDemand kv = kv_demand(config_, type, pass_rows());
  MemoryDemand demand;
  demand.usable_bytes = memory_.usable_bytes;
  demand.unified_memory = device().caps().unified_memory;
  demand.layer_bytes = weights.layer_bytes;
  demand.shared_bytes = weights.shared_bytes;
  if (demand.unified_memory) demand.shared_bytes += weights.table_bytes;
  demand.shared_bytes += drafter_plan_.device_bytes + projector_plan_.device_bytes;
  demand.kv_fixed_bytes = kv.fixed_bytes;
  demand.kv_position_bytes = kv.position_bytes;
  demand.snapshot_bytes = snapshot_bytes(config_, config_.max_context, type, pass_rows());
  demand.scratch_bytes = kScratchReserve;
  if (find_tower(projector_) != nullptr) {
    demand.scratch_bytes +=
        PictureEncoder::planned_bytes(projector_->config(), max_picture_tokens_);
  }
  if (find_conformer(projector_) != nullptr) {
    demand.scratch_bytes += SoundEncoder::planned_bytes(projector_->config());
  }
  demand.max_context = kv_context_limit(config_, type, device().caps(), kv_segment_rows_);
  return demand;
}

Result<SessionPlan> Engine::plan_session(kernels::KvType type, uint32_t context) const {
  const MemoryDemand needs = demand(weight_plan_, type);
  if (context == 0) {
    KL_ASSIGN(context, pick_context(needs, memory_.n_gpu_layers));
  } else {
    KL_ASSIGN(const uint32_t largest, largest_context(needs, memory_.n_gpu_layers));
    if (context > largest) {
      return Error{
          ErrorCode::out_of_memory,
          fmt::format("a context of {} positions was asked for, the largest that fits is {}",
                      context, largest)};
    }
  }
  return SessionPlan{context, snapshot_budget(needs, memory_.n_gpu_layers, context)};
}

Status Engine::load_weights(const EngineOptions& options) {
  KL_TRY(plan_weights(config_.n_layers));
  const MemoryDemand needs =
      demand(weight_plan_, precise() ? kernels::KvType::f32 : kernels::KvType::f16);
  KL_ASSIGN(memory_.n_gpu_layers, pick_gpu_layers(needs, options.n_gpu_layers));
  KL_TRY(largest_context(needs, memory_.n_gpu_layers));

  model::LoadOptions load;
  load.n_gpu_layers = memory_.n_gpu_layers;
  load.linear = linear_;
  load.dry = options.dry;
  if (options.progress) {
    load.progress = [&](double fraction) { options.progress("loading weights", fraction); };
  }
  KL_ASSIGN(weights_, model::Weights::load(file_, config_, device(), load));
  KL_TRY(load_companions(options, load));
  KL_ASSIGN(const model::WeightPlan placed,
            model::Weights::plan(file_, config_, device().caps(), linear_, memory_.n_gpu_layers));
  memory_.device_weight_bytes = placed.device_bytes;
  memory_.host_weight_bytes = placed.host_bytes - placed.table_bytes;
  memory_.table_bytes = placed.table_bytes;
  return {};
}

Status Engine::load_companions(const EngineOptions& options, model::LoadOptions& load) {
  const auto report = [&](const char* what) {
    if (!options.progress) return;
    load.progress = [&options, what](double fraction) { options.progress(what, fraction); };
  };
  if (drafter_) {
    report("loading the drafter");
    KL_TRY(drafter_->load(device(), load));
  }
  if (projector_) {
    report("loading the projector");
    KL_TRY(projector_->load(device(), load));
  }
  return {};
}

Status Engine::make_rope_tables() {
  const auto make = [&](const model::RopeConfig& rope) -> Result<graph::Tensor> {
    const std::vector<float> values =
        kernels::make_rope_table({rope.head_dim, rope.n_pairs, rope.theta});
    KL_ASSIGN(vk::Buffer buffer, vk::Buffer::make(device(), values.size() * sizeof(float),
                                                  vk::MemoryKind::device, "RoPE table"));
    tables_.push_back(std::make_unique<vk::Buffer>(std::move(buffer)));
    const vk::BufferRange range{tables_.back().get(), 0, tables_.back()->n_bytes()};
    KL_TRY(vk::write_range(device(), range, values.data(), range.n_bytes));
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
    KL_ASSIGN(vk::Buffer buffer, vk::Buffer::make(device(), std::max<uint64_t>(n_bytes, kMiB),
                                                  vk::MemoryKind::device, "scratch"));
    // Older executables keep theirs: they were recorded with it.
    scratch_.push_back(std::make_unique<vk::Buffer>(std::move(buffer)));
  }
  return vk::BufferRange{scratch_.back().get(), 0, scratch_.back()->n_bytes()};
}

}  // namespace kimberlite::runtime
