#include "model_fixture.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

namespace kimberlite::testing {
namespace {

graph::Tensor whole(const vk::Buffer& buffer, graph::DType dtype, graph::Shape shape) {
  return graph::Tensor::of({&buffer, 0, buffer.n_bytes()}, dtype, shape);
}

}  // namespace

std::unique_ptr<vk::Buffer> make_buffer(runtime::Engine& engine, uint64_t n_bytes) {
  return std::make_unique<vk::Buffer>(
      require_value(vk::Buffer::make(engine.device(), n_bytes, vk::MemoryKind::device, "test")));
}

std::string write_tiny(const std::string& shape, uint64_t seed,
                       const synthetic::ModelTypes& types) {
  static int counter = 0;
  const auto folder = std::filesystem::temp_directory_path();
  const std::string path =
      (folder / ("kimberlite-" + shape + "-" + std::to_string(std::random_device{}()) + "-" +
                 std::to_string(counter++) + ".gguf"))
          .string();
  const auto found = synthetic::find_shape(shape);
  KL_CHECK(found.has_value(), shape.c_str());
  require_ok(synthetic::write_model(*found, seed, types, path));
  return path;
}

void require_ok(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.error().message.c_str());
  std::abort();
}

runtime::EngineOptions precise() {
  runtime::EngineOptions options;
  options.precise = true;
  return options;
}

runtime::GenerateRequest greedy(uint32_t max_tokens) {
  runtime::GenerateRequest request;
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

model::ModelConfig config_of(const std::vector<model::LayerKind>& layers, uint32_t head_dim,
                             uint32_t context) {
  model::ModelConfig config;
  config.max_context = context;
  config.n_layers = config.n_kv_layers = static_cast<uint32_t>(layers.size());
  for (const model::LayerKind kind : layers) {
    model::LayerConfig& layer = config.layers.emplace_back();
    layer.kind = kind;
    layer.n_kv_heads = 2;
    layer.head_dim = head_dim;
  }
  return config;
}

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    if (!(difference <= worst)) worst = difference;  // NaN counts as worst
  }
  return worst;
}

std::string golden_test_name(const ::testing::TestParamInfo<const char*>& param) {
  std::string name = param.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

TinyModel::TinyModel(const std::string& shape, uint64_t seed, synthetic::ModelTypes types,
                     const runtime::EngineOptions& options)
    : TinyModel(write_tiny(shape, seed, types), options) {}

TinyModel::TinyModel(std::string path, runtime::EngineOptions options) : path_(std::move(path)) {
  options.cache_dir = "none";
  options.probe = false;  // costs seconds on SwiftShader; probe_test opens engines with it
  options.draft = !options.draft_model.empty();  // files of other tests lie beside this one
  options.media = !options.projector.empty();
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
      cache_(require_value(runtime::KvCache::make(engine_.device(), engine_.config(),
                                                  {context, kv_type, engine_.kv_segment_rows()}))) {
  for (const kernels::KvCacheView& layer : cache_.layers()) {
    if (layer.has_table()) continue;
    const std::vector<std::byte> zeros(layer.k.n_bytes);
    for (const graph::Tensor& tensor : {layer.k, layer.v}) {
      require_ok(vk::write_range(engine_.device(),
                                 {tensor.buffer, tensor.offset_bytes, tensor.n_bytes}, zeros.data(),
                                 zeros.size()));
    }
  }
}

std::vector<float> DecoderRun::columns(const std::vector<int32_t>& tokens,
                                       uint32_t first_position) {
  return run(tokens, first_position, UINT32_MAX, true);
}

std::vector<float> DecoderRun::residual(const std::vector<int32_t>& tokens, uint32_t first_position,
                                        uint32_t n_layers) {
  return run(tokens, first_position, n_layers, false);
}

void DecoderRun::add_model(graph::Graph& graph, const Key& key, Pass& pass) {
  const auto& [n, n_layers, want_logits] = key;
  const model::ModelConfig& config = engine_.config();
  const uint64_t width = want_logits ? config.n_vocab : config.width;
  pass.columns = make_buffer(engine_, n * sizeof(shaders::Column));
  pass.out = make_buffer(engine_, n * width * sizeof(float));
  const model::DecoderState state{whole(*pass.columns, graph::DType::u32, graph::Shape{n, 4}),
                                  cache_.layers(), engine_.rope().sliding, engine_.rope().full};
  model::DecoderOptions options;
  options.n_layers = n_layers;
  (want_logits ? options.logits : options.residual) =
      whole(*pass.out, graph::DType::f32, graph::Shape{n, width});
  model::add_decoder(graph, config, engine_.weights(), state, options);
}

uint32_t DecoderRun::n_dispatches(uint32_t n_layers, const vk::Caps& caps) {
  Pass pass;
  graph::Graph graph(caps);
  add_model(graph, {1, n_layers, false}, pass);
  return static_cast<uint32_t>(graph.nodes().size());
}

DecoderRun::Pass DecoderRun::make_pass(const Key& key) {
  Pass pass;
  graph::Graph graph(engine_.device().caps());
  add_model(graph, key, pass);
  std::vector<uint32_t> kept;
  for (const std::string& name : kept_names_) kept.push_back(graph.keep(name));
  const graph::Plan plan = graph::make_plan(graph);
  const vk::BufferRange scratch = require_value(engine_.reserve_scratch(plan.scratch_bytes));
  pass.executable = std::make_unique<graph::Executable>(require_value(
      graph::Executable::make(engine_.device(), engine_.pipelines(), graph, plan, scratch)));
  for (const uint32_t index : kept) {
    const graph::Transient& transient = graph.transients()[index];
    pass.kept[transient.name] = {
        scratch.buffer, scratch.offset_bytes + plan.transient_offsets[index], transient.n_bytes};
  }
  return pass;
}

std::vector<float> DecoderRun::run(const std::vector<int32_t>& tokens, uint32_t first_position,
                                   uint32_t n_layers, bool want_logits) {
  const Key key{tokens.size(), n_layers, want_logits};
  require_ok(cache_.commit(first_position + static_cast<uint32_t>(tokens.size())));
  if (!passes_.contains(key)) passes_.emplace(key, make_pass(key));
  const Pass& pass = passes_.at(key);
  last_ = &pass;
  std::vector<shaders::Column> columns;
  for (const int32_t token : tokens) {
    const auto position = first_position + static_cast<uint32_t>(columns.size());
    columns.push_back({static_cast<uint32_t>(token), position, 0, 1});
  }
  require_ok(vk::write_range(engine_.device(), {pass.columns.get(), 0, pass.columns->n_bytes()},
                             columns.data(), pass.columns->n_bytes()));
  require_ok(engine_.device().run(pass.executable->commands()));
  std::vector<float> values(pass.out->n_bytes() / sizeof(float));
  require_ok(vk::read_range(engine_.device(), {pass.out.get(), 0, pass.out->n_bytes()},
                            values.data(), pass.out->n_bytes()));
  return values;
}

std::vector<std::byte> DecoderRun::cache_bytes() {
  std::vector<std::byte> bytes;
  for (const kernels::KvCacheView& layer : cache_.layers()) {
    if (layer.has_table()) continue;
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
