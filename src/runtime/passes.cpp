#include "runtime/passes.hpp"

#include <fmt/format.h>

#include "kernels/sample.hpp"

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
  }
  return "pass";
}

}  // namespace

graph::Graph Passes::build(const PassKey& key) const {
  graph::Graph graph(engine_->device().caps(), &engine_->policy());
  const bool step = key.end == PassEnd::step;
  const model::DecoderState state{
      step ? sequence_->step_column() : sequence_->host_columns(key.n_columns), cache_->layers(),
      engine_->rope().sliding, engine_->rope().full};
  model::DecoderOptions options;
  if (key.end != PassEnd::cache) options.logits = sequence_->logits(key.n_columns);
  model::add_decoder(graph, engine_->config(), engine_->weights(), state, options);
  if (step) {
    kernels::add_sample(graph,
                        {.logits = *options.logits,
                         .columns = sequence_->step_column(),
                         .states = sequence_->state(),
                         .counts = sequence_->counts(),
                         .suppress = sequence_->suppressed()},
                        {.ring = sequence_->ring(), .reports = sequence_->report()}, "sample");
  }
  return graph;
}

Result<const graph::Executable*> Passes::get(const PassKey& key) {
  auto& slot = executables_[key];
  if (slot == nullptr) {
    const graph::Graph graph = build(key);
    const graph::Plan plan = graph::make_plan(graph);
    KL_ASSIGN(const vk::BufferRange scratch, engine_->reserve_scratch(plan.scratch_bytes));
    graph::ExecutableOptions options;
    options.name = fmt::format("{}-{}", end_name(key.end), key.n_columns);
    options.timestamps = key.profiled;
    KL_ASSIGN(graph::Executable executable,
              graph::Executable::make(engine_->device(), engine_->pipelines(), graph, plan, scratch,
                                      options));
    slot = std::make_unique<graph::Executable>(std::move(executable));
  }
  return slot.get();
}

Status Passes::prepare(std::span<const PassKey> keys,
                       const std::function<void(size_t, size_t)>& progress) {
  std::vector<vk::PipelineSpec> specs;
  for (const PassKey& key : keys) {
    std::vector<vk::PipelineSpec> own = graph::pipeline_specs(build(key));
    specs.insert(specs.end(), std::make_move_iterator(own.begin()),
                 std::make_move_iterator(own.end()));
  }
  return engine_->pipelines().prepare(specs, progress);
}

}  // namespace kimberlite::runtime
