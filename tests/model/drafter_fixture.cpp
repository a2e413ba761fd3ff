#include "drafter_fixture.hpp"

#include <algorithm>
#include <filesystem>

namespace kimberlite::testing {
namespace {

constexpr uint64_t kStride = 256;  // keeps every device's storage alignment

graph::Tensor column_at(const vk::Buffer& buffer, uint64_t index) {
  return graph::Tensor::of({&buffer, index * kStride, sizeof(shaders::Column)}, graph::DType::u32,
                           {1, 4});
}

void write(runtime::Engine& engine, const vk::Buffer& buffer, uint64_t offset, const void* bytes,
           uint64_t n_bytes) {
  require_ok(vk::write_range(engine.device(), {&buffer, offset, n_bytes}, bytes, n_bytes));
}

}  // namespace

TinyDrafter::TinyDrafter(TinyModel& target, const std::string& shape, uint64_t seed,
                         const synthetic::ModelTypes& types, bool precise)
    : target_(target.engine()) {
  const std::string path = write_tiny(shape, seed, types);
  {
    const formats::GgufFile file = require_value(formats::GgufFile::open(path));
    config_ = require_value(model::read_drafter_config(file));
    donors_ = require_value(model::check_pair(config_, target_.config()));
    model::LoadOptions options;
    options.linear.precise = precise;
    weights_ = require_value(model::DrafterWeights::load(file, config_, target_.device(), options));
    const auto plan = require_value(
        model::DrafterWeights::plan(file, config_, target_.device().caps(), options.linear));
    EXPECT_EQ(plan.host_bytes, 0u);
    EXPECT_GE(weights_->n_bytes(), plan.device_bytes);
  }
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
}

DraftRun::DraftRun(const TinyDrafter& drafter, const DecoderRun& decoder)
    : drafter_(drafter), decoder_(decoder), one_(make_chain(1)) {}

DraftRun::Chain DraftRun::make_chain(size_t n_drafts) {
  runtime::Engine& engine = drafter_.target();
  const model::DrafterConfig& config = drafter_.config();
  Chain chain;
  chain.columns = make_buffer(engine, (n_drafts + 1) * kStride);
  chain.input = make_buffer(engine, 2ull * config.target_width * sizeof(float));
  graph::Graph graph(engine.device().caps());
  model::DrafterState state;
  state.position = column_at(*chain.columns, 0);
  state.input = graph::Tensor::of({chain.input.get(), 0, chain.input->n_bytes()}, graph::DType::f32,
                                  {1, 2ull * config.target_width});
  state.sliding = decoder_.caches()[drafter_.donors().sliding];
  state.full = decoder_.caches()[drafter_.donors().full];
  state.rope_sliding = engine.rope().sliding;
  state.rope_full = engine.rope().full;
  for (size_t i = 0; i < n_drafts; ++i) {
    state.token = column_at(*chain.columns, i + 1);
    chain.logits.push_back(make_buffer(engine, config.text.n_vocab * sizeof(float)));
    const auto logits = graph::Tensor::of({chain.logits[i].get(), 0, chain.logits[i]->n_bytes()},
                                          graph::DType::f32, {1, config.text.n_vocab});
    model::add_draft_step(graph, config, drafter_.weights(), engine.weights(), state, logits,
                          /*keep_hidden=*/n_drafts == 1 || i + 1 < n_drafts);
  }
  const graph::Plan plan = graph::make_plan(graph);
  const vk::BufferRange scratch = require_value(engine.reserve_scratch(plan.scratch_bytes));
  chain.executable = std::make_unique<graph::Executable>(require_value(
      graph::Executable::make(engine.device(), engine.pipelines(), graph, plan, scratch)));
  return chain;
}

void DraftRun::write_hidden(const Chain& chain, const std::vector<float>& hidden) {
  const uint64_t n_bytes = drafter_.config().target_width * sizeof(float);
  KL_CHECK(hidden.size() * sizeof(float) == n_bytes, "a hidden state of another width");
  write(drafter_.target(), *chain.input, n_bytes, hidden.data(), n_bytes);
}

std::vector<Draft> DraftRun::run(const Chain& chain, uint32_t position,
                                 const std::vector<int32_t>& tokens) {
  runtime::Engine& engine = drafter_.target();
  // What a state does not say it reads must not matter.
  const shaders::Column at{0xffffffffu, position, 0, 1};
  write(engine, *chain.columns, 0, &at, sizeof(at));
  for (size_t i = 0; i < tokens.size(); ++i) {
    const shaders::Column column{static_cast<uint32_t>(tokens[i]), 0xffffffffu, 0xffffffffu, 0};
    write(engine, *chain.columns, (i + 1) * kStride, &column, sizeof(column));
  }
  require_ok(engine.device().run(chain.executable->commands()));
  std::vector<Draft> drafts;
  for (const auto& buffer : chain.logits) {
    Draft& draft = drafts.emplace_back();
    draft.logits.resize(buffer->n_bytes() / sizeof(float));
    require_ok(vk::read_range(engine.device(), {buffer.get(), 0, buffer->n_bytes()},
                              draft.logits.data(), buffer->n_bytes()));
    draft.token =
        static_cast<int32_t>(std::ranges::max_element(draft.logits) - draft.logits.begin());
  }
  return drafts;
}

std::vector<Draft> DraftRun::round(uint32_t position, int32_t token,
                                   const std::vector<float>& hidden, size_t n_drafts) {
  write_hidden(one_, hidden);
  std::vector<Draft> drafts;
  for (size_t i = 0; i < n_drafts; ++i) {
    drafts.push_back(std::move(run(one_, position, {token})[0]));
    token = drafts.back().token;
  }
  return drafts;
}

std::vector<Draft> DraftRun::chain(uint32_t position, const std::vector<int32_t>& tokens,
                                   const std::vector<float>& hidden) {
  const Chain chain = make_chain(tokens.size());
  write_hidden(chain, hidden);
  return run(chain, position, tokens);
}

}  // namespace kimberlite::testing
