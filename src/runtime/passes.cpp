#include "runtime/passes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "model/drafter.hpp"

namespace kimberlite::runtime {
namespace {

const char* end_name(PassEnd end) {
  switch (end) {
    case PassEnd::cache:
      return "prefill";
    case PassEnd::logits:
      return "columns";
    case PassEnd::step:
      return "step";
    case PassEnd::draft:
      return "draft";
    case PassEnd::verify:
      return "verify";
    case PassEnd::accept:
      return "accept";
  }
  return "pass";
}

}  // namespace

void Passes::add_model(graph::Graph& graph, const PassKey& key) const {
  const bool decodes = key.end == PassEnd::step || key.end == PassEnd::verify;
  model::DecoderState state{
      decodes ? sequence_->columns(key.n_columns) : sequence_->host_columns(key.n_columns),
      cache_->layers(), engine_->rope().sliding, engine_->rope().full};
  if (key.soft) {
    state.soft = sequence_->soft(key.n_columns);
    state.sources = sequence_->sources(key.n_columns);
  }
  model::DecoderOptions options;
  if (key.end != PassEnd::cache) options.logits = sequence_->logits(key.n_columns);
  if (decodes && engine_->drafter() != nullptr) options.result = sequence_->hidden(key.n_columns);
  model::add_decoder(graph, engine_->config(), engine_->weights(), state, options);
}

/// Each draft is looked up, guessed from and written behind the one before it.
void Passes::add_drafts(graph::Graph& graph, uint32_t n_drafts) const {
  const Drafter& drafter = *engine_->drafter();
  const graph::Tensor pending = sequence_->columns(1);
  const graph::Tensor logits = sequence_->logits(1);
  model::DrafterState state{.token = pending,
                            .position = pending,
                            .input = sequence_->draft_input(),
                            .sliding = cache_->layers()[drafter.donors().sliding],
                            .full = cache_->layers()[drafter.donors().full],
                            .rope_sliding = engine_->rope().sliding,
                            .rope_full = engine_->rope().full};
  kernels::SampleInputs inputs = sample_inputs(n_drafts + 1);
  inputs.logits = logits;
  for (uint32_t i = 0; i < n_drafts; ++i) {
    const bool is_last = i + 1 == n_drafts;
    model::add_draft_step(graph, drafter.config(), drafter.weights(), engine_->weights(), state,
                          logits, /*keep_hidden=*/!is_last);
    kernels::add_sample_draft(graph, inputs, i, {sequence_->draft_column(), sequence_->drafts()},
                              fmt::format("draft{}.sample", i));
    state.token = sequence_->draft_column();
  }
}

kernels::SampleInputs Passes::sample_inputs(uint32_t n_columns) const {
  return {.logits = sequence_->logits(n_columns),
          .columns = sequence_->columns(n_columns),
          .states = sequence_->state(),
          .counts = sequence_->counts(),
          .suppress = sequence_->suppressed()};
}

void Passes::add_sampling(graph::Graph& graph, const PassKey& key) const {
  const kernels::SampleOutputs outputs{.ring = sequence_->ring(), .reports = sequence_->report()};
  kernels::AcceptOptions options;
  options.agree = key.agree;
  if (engine_->drafter() != nullptr) {
    options.hidden = sequence_->hidden(key.n_columns);
    options.hidden_next = {sequence_->draft_input(), engine_->config().width};
  }
  kernels::SampleInputs inputs = sample_inputs(key.n_columns);
  if (key.masked) inputs.mask = sequence_->masks(key.n_columns);
  kernels::add_sample_accept(graph, inputs, outputs, options, "sample");
}

graph::Graph Passes::build(const PassKey& key, const graph::VariantPolicy& policy) const {
  graph::Graph graph(engine_->device().caps(), &policy);
  if (key.end == PassEnd::draft) {
    add_drafts(graph, key.n_columns - 1);
    return graph;
  }
  if (key.end != PassEnd::accept) add_model(graph, key);
  if (key.end == PassEnd::step || key.end == PassEnd::accept) add_sampling(graph, key);
  return graph;
}

Result<graph::Executable> Passes::record(const graph::Graph& graph,
                                         const graph::ExecutableOptions& options) {
  const graph::Plan plan = graph::make_plan(graph);
  KL_ASSIGN(const vk::BufferRange scratch, engine_->reserve_scratch(plan.scratch_bytes));
  return graph::Executable::make(engine_->device(), engine_->pipelines(), graph, plan, scratch,
                                 options);
}

Result<std::vector<graph::NodeTime>> Passes::time_nodes(const PassKey& key,
                                                        const graph::VariantPolicy& policy,
                                                        uint32_t n_runs) {
  graph::ExecutableOptions options;
  options.name = fmt::format("timed {}-{}", end_name(key.end), key.n_columns);
  options.timestamps = true;
  KL_ASSIGN(const graph::Executable pass, record(build(key, policy), options));
  std::vector<graph::NodeTime> best;
  for (uint32_t i = 0; i <= n_runs; ++i) {
    KL_TRY(engine_->device().run(pass.commands()));
    KL_ASSIGN(std::vector<graph::NodeTime> times, pass.node_times(engine_->device()));
    // The first run pays for lazy compilation and cold caches.
    if (i <= 1) {
      best = std::move(times);
      continue;
    }
    for (size_t node = 0; node < best.size(); ++node) {
      best[node].microseconds = std::min(best[node].microseconds, times[node].microseconds);
    }
  }
  return best;
}

Result<const graph::Executable*> Passes::get(const PassKey& key) {
  auto& slot = executables_[key];
  if (slot == nullptr) {
    graph::ExecutableOptions options;
    options.name =
        fmt::format("{}-{}{}", end_name(key.end), key.n_columns, key.soft ? "-soft" : "");
    options.timestamps = key.profiled;
    if (key.soft) options.n_parts = engine_->config().n_layers;
    KL_ASSIGN(graph::Executable executable, record(build(key, engine_->policy()), options));
    slot = std::make_unique<graph::Executable>(std::move(executable));
  }
  return slot.get();
}

Status Passes::prepare(std::span<const PassKey> keys,
                       const std::function<void(size_t, size_t)>& progress) {
  std::vector<vk::PipelineSpec> specs;
  for (const PassKey& key : keys) {
    std::vector<vk::PipelineSpec> own = graph::pipeline_specs(build(key, engine_->policy()));
    specs.insert(specs.end(), std::make_move_iterator(own.begin()),
                 std::make_move_iterator(own.end()));
  }
  return engine_->pipelines().prepare(specs, progress);
}

}  // namespace kimberlite::runtime
