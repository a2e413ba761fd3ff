// The measuring half of tools.hpp: statistics, figures of a step, profiles, evaluation.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>

#include "base/os.hpp"
#include "runtime/api.hpp"

namespace kimberlite {
namespace {

/// The most dispatches of one layer; their labels start with "blk.3." for layer 3.
uint32_t most_of_a_layer(const graph::Executable& step) {
  std::map<std::string, uint32_t> counts;
  for (const graph::NodeTime& node : step.nodes()) {
    const std::string_view label = node.label;
    if (!label.starts_with("blk.")) continue;
    ++counts[std::string(label.substr(0, label.find('.', 4)))];
  }
  uint32_t most = 0;
  for (const auto& [layer, count] : counts) most = std::max(most, count);
  return most;
}

}  // namespace

Statistics statistics(const Model& model) {
  runtime::Engine& engine = Access::engine(model);
  const vk::Device::Counters counters = engine.device().counters();
  Statistics s;
  s.submits = counters.submits;
  s.records = counters.records;
  s.allocations = counters.allocations;
  s.growths = counters.growths;
  s.device_bytes = counters.allocated_bytes;
  s.peak_device_bytes = counters.peak_allocated_bytes;
  s.peak_host_bytes = os::peak_resident_bytes();
  s.weight_bytes = engine.weights().n_bytes();
  s.host_weight_bytes = engine.memory().host_weight_bytes;
  s.table_bytes = engine.memory().table_bytes;
  s.n_gpu_layers = engine.memory().n_gpu_layers;
  s.n_layers = engine.config().n_layers;
  for (const formats::TensorInfo& tensor : engine.file().tensors()) {
    s.n_parameters += tensor.n_elements();
  }
  s.n_pipelines = static_cast<uint32_t>(engine.pipelines().n_pipelines());
  s.pipeline_seconds = engine.pipelines().creation_seconds();
  s.load_seconds = engine.load_seconds();
  const vk::DeviceSnapshot& snapshot = engine.device().snapshot();
  s.device_name = snapshot.name;
  s.device_driver = fmt::format("{} {}", snapshot.driver_name, snapshot.driver_info);
  s.device_reason = engine.device_reason();
  s.warnings = engine.warnings();
  return s;
}

Result<PassFigures> decode_figures(Session& session) {
  KL_ASSIGN(const graph::Executable* step,
            Access::session(session).passes().get({runtime::PassEnd::step, 1}));
  const uint32_t of_layer = most_of_a_layer(*step);
  const bool has_experts = Access::session(session).engine().config().experts.n != 0;
  return PassFigures{step->n_dispatches(), has_experts ? 0 : of_layer, has_experts ? of_layer : 0,
                     step->n_barriers(), step->bytes_touched()};
}

Result<std::vector<NodeFigures>> profile_decode(Session& session) {
  KL_ASSIGN(const std::vector<graph::NodeTime> times, Access::session(session).profile_step());
  std::vector<NodeFigures> nodes;
  for (const graph::NodeTime& time : times) {
    nodes.push_back({time.label, time.kernel, time.microseconds, time.bytes_touched});
  }
  std::stable_sort(nodes.begin(), nodes.end(), [](const NodeFigures& a, const NodeFigures& b) {
    return a.microseconds > b.microseconds;
  });
  return nodes;
}

Result<std::vector<double>> time_columns(Session& session, uint32_t n_runs) {
  return Access::session(session).time_columns(n_runs);
}

Result<PictureTimes> time_picture(Session& session, uint32_t n_tokens, uint32_t n_runs) {
  runtime::Session& inner = Access::session(session);
  const runtime::Projector* projector = inner.engine().projector();
  if (projector == nullptr || !projector->config().vision) {
    return Error{ErrorCode::unsupported, "no projector for pictures to be timed"};
  }
  uint32_t n_y = 1;
  for (uint32_t side = 1; side * side <= n_tokens; ++side) {
    if (n_tokens % side == 0) n_y = side;
  }
  std::vector<float> patches(uint64_t{n_tokens} * projector->config().vision->n_values());
  std::minstd_rand random(1);
  PictureTimes times{n_tokens, 0, 0};
  for (uint32_t i = 0; i <= n_runs; ++i) {  // the first warms up
    for (float& value : patches) value = static_cast<float>(random() >> 8 & 0xff) / 255.0f;
    const auto start = std::chrono::steady_clock::now();
    KL_ASSIGN(auto soft, inner.engine().media().embed_picture(n_tokens / n_y, n_y, patches));
    const auto embedded = std::chrono::steady_clock::now();
    const runtime::Prompt prompt{std::vector<int32_t>(n_tokens + 1), {{0, std::move(soft)}}};
    KL_TRY(inner.sync_prompt(prompt, {}));
    const std::chrono::duration<double> projection = embedded - start;
    const std::chrono::duration<double> prefill = std::chrono::steady_clock::now() - embedded;
    if (i < 2 || projection.count() < times.projection_seconds) {
      times.projection_seconds = projection.count();
    }
    if (i < 2 || prefill.count() < times.prefill_seconds) times.prefill_seconds = prefill.count();
  }
  return times;
}

Result<GenerateResult> generate_agreeing(Session& session, const GenerateOptions& options,
                                         double share) {
  if (!(share > 0 && share <= 1)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("a share of {} of the drafts, expected above 0 to 1", share)};
  }
  runtime::Session& inner = Access::session(session);
  runtime::GenerateRequest request = to_request(options, inner.engine().tokenizer());
  request.agree = static_cast<uint32_t>(std::clamp(share * 0x1p32, 1.0, 0x1p32 - 1));
  KL_ASSIGN(runtime::Generated generated, inner.generate(request, {}));
  return GenerateResult{generated.reason, std::move(generated.tokens), generated.seconds,
                        generated.first_token_seconds};
}

Status evaluate(Session& session, std::span<const int32_t> tokens,
                const std::function<void(uint32_t, std::span<const float>)>& on_row) {
  return Access::session(session).evaluate(tokens, on_row);
}

}  // namespace kimberlite
