#include "kernels/sample.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "base/numeric.hpp"
#include "kernels/sample_pass.hpp"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::KernelDesc;
using graph::Shape;
using graph::Tensor;
using graph::Variant;
using Spread = SamplePass::Spread;

namespace {

constexpr uint32_t kPushBytes = sizeof(shaders::SamplePush);
constexpr BindingDesc kColumns{"columns"};
constexpr BindingDesc kStates{"states"};

constexpr std::array kPrepareBindings{kColumns,
                                      kStates,
                                      BindingDesc{"logits"},
                                      BindingDesc{"counts"},
                                      BindingDesc{"suppress"},
                                      BindingDesc{"x", Access::read_write},
                                      BindingDesc{"chunks", Access::write},
                                      BindingDesc{"histogram", Access::write},
                                      BindingDesc{"mask"}};
constexpr std::array kHistogramBindings{kColumns, kStates, BindingDesc{"chunks"}, BindingDesc{"x"},
                                        BindingDesc{"histogram", Access::read_write}};
constexpr std::array kBoundsBindings{kColumns, kStates, BindingDesc{"chunks"},
                                     BindingDesc{"histogram"}, BindingDesc{"cuts", Access::write}};
constexpr std::array kGatherBindings{kColumns,
                                     kStates,
                                     BindingDesc{"cuts", Access::read_write},
                                     BindingDesc{"chunks"},
                                     BindingDesc{"x"},
                                     BindingDesc{"list", Access::write}};
constexpr std::array kThresholdBindings{kColumns, kStates, BindingDesc{"histogram"},
                                        BindingDesc{"list"},
                                        BindingDesc{"cuts", Access::read_write}};
constexpr std::array kPickBindings{kColumns,
                                   kStates,
                                   BindingDesc{"cuts"},
                                   BindingDesc{"chunks"},
                                   BindingDesc{"x"},
                                   BindingDesc{"picks", Access::write}};
constexpr std::array kTokensBindings{kColumns, kStates, BindingDesc{"picks"},
                                     BindingDesc{"tokens", Access::write}};

constexpr std::array kPrepareVariants{Variant{"portable", "sample_prepare"}};
constexpr std::array kHistogramVariants{Variant{"portable", "sample_histogram"}};
constexpr std::array kBoundsVariants{Variant{"portable", "sample_bounds"}};
constexpr std::array kGatherVariants{Variant{"portable", "sample_gather"}};
constexpr std::array kThresholdVariants{Variant{"portable", "sample_threshold"}};
constexpr std::array kPickVariants{Variant{"portable", "sample_pick"}};
constexpr std::array kTokensVariants{Variant{"portable", "sample_tokens"}};

constexpr KernelDesc kPrepare{"sample_prepare", kPrepareBindings, kPushBytes, kPrepareVariants};
constexpr KernelDesc kHistogram{"sample_histogram", kHistogramBindings, kPushBytes,
                                kHistogramVariants};
constexpr KernelDesc kBounds{"sample_bounds", kBoundsBindings, kPushBytes, kBoundsVariants};
constexpr KernelDesc kGather{"sample_gather", kGatherBindings, kPushBytes, kGatherVariants};
constexpr KernelDesc kThreshold{"sample_threshold", kThresholdBindings, kPushBytes,
                                kThresholdVariants};
constexpr KernelDesc kPick{"sample_pick", kPickBindings, kPushBytes, kPickVariants};
constexpr KernelDesc kTokens{"sample_tokens", kTokensBindings, kPushBytes, kTokensVariants};

constexpr std::array<const KernelDesc*, 9> kAll{&kPrepare, &kHistogram,   &kBounds,
                                                &kGather,  &kThreshold,   &kPick,
                                                &kTokens,  &kSampleDraft, &kSampleAdvance};

constexpr uint32_t kCutWords = sizeof(shaders::SampleCut) / 4;
constexpr uint32_t kChunksPerWorkgroup = 4;  // one for each subgroup

Status check_range(const char* name, float value, float low, float high) {
  if (value >= low && value <= high) return {};  // false for NaN
  return Error{ErrorCode::invalid_argument,
               fmt::format("{}: expected {} to {}, got {}", name, low, high, value)};
}

/// Penalties too small to matter are off, so that no product is subnormal.
float without_dust(float value) { return std::abs(value) < 1e-20f ? 0.0f : value; }

}  // namespace

std::span<const KernelDesc* const> sample_kernels() { return kAll; }

void SamplePass::add(const KernelDesc& kernel, Spread spread, std::vector<Tensor> tensors) const {
  const uint32_t n_subgroups = spread == Spread::chunks ? kChunksPerWorkgroup : 1;
  graph::Node node;
  node.kernel = &kernel;
  node.variant = &graph.pick(kernel);
  node.label = fmt::format("{}.{}", label, kernel.name);
  node.tensors = std::move(tensors);
  node.constants = {n_subgroups * graph.caps().subgroup_size};
  if (&kernel == &kPrepare) node.constants.push_back(masked ? 1 : 0);
  node.set_push(push);
  node.grid = spread == Spread::chunks
                  ? std::array{div_up(push.n_chunks, kChunksPerWorkgroup), n_rows, 1u}
                  : std::array{n_rows, 1u, 1u};
  // Only these stream over the vocabulary whatever the settings.
  if (&kernel == &kPrepare || &kernel == &kPick) {
    node.bytes_touched = uint64_t{8} * n_rows * push.vocab;
  }
  graph.add(std::move(node));
}

SamplePass make_sample_pass(graph::Graph& graph, const SampleInputs& in, const std::string& label) {
  const auto vocab = static_cast<uint32_t>(in.logits.shape[1]);
  shaders::SamplePush push{};
  push.vocab = vocab;
  push.n_columns = static_cast<uint32_t>(in.columns.shape[0]);
  push.n_chunks = div_up(vocab, shaders::kSampleChunk);
  push.n_suppress = in.suppress.valid() ? static_cast<uint32_t>(in.suppress.n_elements()) : 0;
  return {graph, label, static_cast<uint32_t>(in.logits.shape[0]), push, in.mask.valid()};
}

void check_sample_inputs(const graph::Graph& graph, const SampleInputs& in) {
  KL_CHECK(graph.caps().subgroup_size <= 64, "subgroups of up to 64");
  KL_CHECK(in.logits.dtype == DType::f32 && in.logits.shape.rank() == 2, "logits [n, vocab]");
  const uint64_t n = in.logits.shape[0];
  const uint64_t vocab = in.logits.shape[1];
  KL_CHECK(n >= 1 && n <= kMaxSampleColumns, "1 to 8 columns");
  KL_CHECK(vocab <= (1u << 20), "a vocabulary whose weights add up in 64 bits");
  KL_CHECK(in.columns.dtype == DType::u32 && in.columns.shape.rank() == 2 &&
               in.columns.shape[1] == kColumnWords,
           "columns [n, 4]");
  KL_CHECK(in.states.dtype == DType::u32 && in.states.shape.rank() == 2 &&
               in.states.shape[1] == kStateWords,
           "states [n_sequences, 24]");
  KL_CHECK(in.counts.dtype == DType::u32 && in.counts.shape == (Shape{in.states.shape[0], vocab}),
           "counts [n_sequences, vocab]");
  KL_CHECK(in.counts.n_elements() <= UINT32_MAX, "more counts than 32 bits index");
  KL_CHECK(!in.suppress.valid() || in.suppress.dtype == DType::u32, "suppressed ids are u32");
  // The shader walks the list for every token; lavapipe ends loops after 65535 rounds in all.
  KL_CHECK(!in.suppress.valid() || in.suppress.n_elements() <= 128, "up to 128 suppressed ids");
  KL_CHECK(!in.mask.valid() || (in.mask.dtype == DType::u32 &&
                                in.mask.shape == (Shape{n, div_up(vocab, uint64_t{32})})),
           "mask [n, (vocab + 31) / 32]");
}

Tensor add_pick(const SamplePass& pass, const SampleInputs& in) {
  graph::Graph& graph = pass.graph;
  const uint64_t n = pass.n_rows;
  const Tensor x = graph.transient("sample.x", DType::f32, Shape{n, pass.push.vocab});
  const Tensor chunks =
      graph.transient("sample.chunks", DType::u32, Shape{n, pass.push.n_chunks, 2});
  const Tensor histogram =
      graph.transient("sample.histogram", DType::u32, Shape{n, shaders::kHistogramWords});
  const Tensor cuts = graph.transient("sample.cuts", DType::u32, Shape{n, kCutWords});
  const Tensor list = graph.transient("sample.list", DType::u32, Shape{n, pass.push.vocab, 2});
  const Tensor picks = graph.transient("sample.picks", DType::u32, Shape{n, pass.push.n_chunks, 2});
  // A binding needs a buffer; the shader reads nothing from these.
  const Tensor& suppress = in.suppress.valid() ? in.suppress : in.columns;
  const Tensor& mask = in.mask.valid() ? in.mask : in.columns;

  pass.add(kPrepare, Spread::chunks,
           {in.columns, in.states, in.logits, in.counts, suppress, x, chunks, histogram, mask});
  pass.add(kHistogram, Spread::chunks, {in.columns, in.states, chunks, x, histogram});
  pass.add(kBounds, Spread::columns, {in.columns, in.states, chunks, histogram, cuts});
  pass.add(kGather, Spread::chunks, {in.columns, in.states, cuts, chunks, x, list});
  pass.add(kThreshold, Spread::columns, {in.columns, in.states, histogram, list, cuts});
  pass.add(kPick, Spread::chunks, {in.columns, in.states, cuts, chunks, x, picks});
  return picks;
}

Status check_sampling(const SamplingSettings& settings) {
  KL_TRY(check_range("temperature", settings.temperature, 0.0f, 1e6f));
  KL_TRY(check_range("top_p", settings.top_p, 0.0f, 1.0f));
  KL_TRY(check_range("min_p", settings.min_p, 0.0f, 1.0f));
  KL_TRY(check_range("repeat_penalty", settings.repeat_penalty, 0.001f, 1000.0f));
  KL_TRY(check_range("presence_penalty", settings.presence_penalty, -1000.0f, 1000.0f));
  return check_range("frequency_penalty", settings.frequency_penalty, -1000.0f, 1000.0f);
}

void set_sampling(shaders::SequenceState& state, const SamplingSettings& settings) {
  KL_CHECK(check_sampling(settings).ok(), "sampling settings that were not checked");
  constexpr float kGreedyBelow = 1e-5f;
  state.seed_low = static_cast<uint32_t>(settings.seed);
  state.seed_high = static_cast<uint32_t>(settings.seed >> 32);
  state.inverse_temperature =
      settings.temperature < kGreedyBelow ? 0.0f : 1.0f / settings.temperature;
  state.top_k = settings.top_k;
  const double scaled = double{settings.top_p} * 0x1p32;
  state.top_p_scaled =
      scaled >= 0x1p32 - 1 ? shaders::kTopPOff : static_cast<uint32_t>(std::llround(scaled));
  state.log_min_p = settings.min_p < 1e-30f ? shaders::kMinPOff
                                            : static_cast<float>(std::log(double{settings.min_p}));
  state.repeat = settings.repeat_penalty;
  state.inverse_repeat = 1.0f / settings.repeat_penalty;
  state.presence = without_dust(settings.presence_penalty);
  state.frequency = without_dust(settings.frequency_penalty);
}

void add_sample_tokens(graph::Graph& graph, const SampleInputs& inputs, const Tensor& tokens,
                       const std::string& label) {
  check_sample_inputs(graph, inputs);
  KL_CHECK(inputs.columns.shape[0] == inputs.logits.shape[0], "one row of logits for each column");
  KL_CHECK(tokens.dtype == DType::u32 && tokens.shape == Shape{inputs.logits.shape[0]},
           "tokens [n]");
  const SamplePass pass = make_sample_pass(graph, inputs, label);
  const Tensor picks = add_pick(pass, inputs);
  pass.add(kTokens, Spread::columns, {inputs.columns, inputs.states, picks, tokens});
}

}  // namespace kimberlite::kernels
