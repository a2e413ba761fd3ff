#include "model_fixture.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "shaders/common/columns.h"

namespace kimberlite::testing {
namespace {

vk::Buffer make_buffer(runtime::Engine& engine, uint64_t n_bytes) {
  return require_value(vk::Buffer::make(engine.device(), n_bytes, vk::MemoryKind::device, "test"));
}

}  // namespace

void require_ok(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.error().message.c_str());
  std::abort();
}

TinyModel::TinyModel(const std::string& shape, uint64_t seed, synthetic::ModelTypes types,
                     runtime::EngineOptions options) {
  static int counter = 0;
  const auto folder = std::filesystem::temp_directory_path();
  path_ = (folder / ("kimberlite-" + shape + "-" + std::to_string(std::random_device{}()) + "-" +
                     std::to_string(counter++) + ".gguf"))
              .string();
  const auto found = synthetic::find_shape(shape);
  KL_CHECK(found.has_value(), shape.c_str());
  require_ok(synthetic::write_model(*found, seed, types, path_));
  options.cache_dir = "none";
  options.validation = true;
  auto validated = runtime::Engine::open(path_, options);
  if (!validated.ok() && validated.error().code == ErrorCode::unsupported) {
    options.validation = false;
    validated = runtime::Engine::open(path_, options);
  }
  engine_ = require_value(std::move(validated));
}

TinyModel::~TinyModel() {
  for (const std::string& message : engine_->device().instance().validation_messages()) {
    ADD_FAILURE() << message;
  }
  engine_.reset();
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
}

DecoderRun::DecoderRun(TinyModel& model, kernels::KvType kv_type, uint32_t context)
    : engine_(model.engine()),
      cache_(require_value(
          runtime::KvCache::make(engine_.device(), engine_.config(), context, kv_type))) {}

std::vector<float> DecoderRun::columns(const std::vector<int32_t>& tokens,
                                       uint32_t first_position) {
  return run(tokens, first_position, UINT32_MAX, true);
}

std::vector<float> DecoderRun::residual(const std::vector<int32_t>& tokens, uint32_t first_position,
                                        uint32_t n_layers) {
  return run(tokens, first_position, n_layers, false);
}

std::vector<float> DecoderRun::run(const std::vector<int32_t>& tokens, uint32_t first_position,
                                   uint32_t n_layers, bool want_logits) {
  const uint64_t n = tokens.size();
  const model::ModelConfig& config = engine_.config();
  std::vector<shaders::Column> columns;
  for (uint64_t i = 0; i < n; ++i) {
    columns.push_back(
        {static_cast<uint32_t>(tokens[i]), first_position + static_cast<uint32_t>(i), 0, 1});
  }
  const vk::Buffer column_buffer = make_buffer(engine_, n * sizeof(shaders::Column));
  require_ok(vk::write_range(engine_.device(), {&column_buffer, 0, column_buffer.n_bytes()},
                             columns.data(), column_buffer.n_bytes()));
  const uint64_t width = want_logits ? config.n_vocab : config.width;
  const vk::Buffer out = make_buffer(engine_, n * width * sizeof(float));
  const auto out_tensor =
      graph::Tensor::of({&out, 0, out.n_bytes()}, graph::DType::f32, graph::Shape{n, width});
  graph::Graph graph(engine_.device().caps());
  model::DecoderState state{graph::Tensor::of({&column_buffer, 0, column_buffer.n_bytes()},
                                              graph::DType::u32, graph::Shape{n, 4}),
                            cache_.layers(), engine_.rope().sliding, engine_.rope().full};
  model::DecoderOptions options;
  options.n_layers = n_layers;
  (want_logits ? options.logits : options.residual) = out_tensor;
  model::add_decoder(graph, config, engine_.weights(), state, options);

  const graph::Plan plan = graph::make_plan(graph);
  const vk::BufferRange scratch = require_value(engine_.reserve_scratch(plan.scratch_bytes));
  const auto executable = require_value(
      graph::Executable::make(engine_.device(), engine_.pipelines(), graph, plan, scratch));
  const VkCommandBuffer commands = executable.commands();
  require_ok(engine_.device().wait(require_value(engine_.device().submit({&commands, 1}))));
  std::vector<float> values(n * width);
  require_ok(
      vk::read_range(engine_.device(), {&out, 0, out.n_bytes()}, values.data(), out.n_bytes()));
  return values;
}

std::vector<std::byte> DecoderRun::cache_bytes() {
  std::vector<std::byte> bytes;
  for (const kernels::KvCacheView& layer : cache_.layers()) {
    for (const graph::Tensor& tensor : {layer.k, layer.v}) {
      const size_t at = bytes.size();
      bytes.resize(at + tensor.n_bytes);
      require_ok(vk::read_range(engine_.device(),
                                {tensor.buffer, tensor.offset_bytes, tensor.n_bytes},
                                bytes.data() + at, tensor.n_bytes));
    }
  }
  return bytes;
}

}  // namespace kimberlite::testing
