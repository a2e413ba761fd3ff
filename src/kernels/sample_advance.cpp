#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "kernels/sample_pass.hpp"

namespace kimberlite::kernels {

using graph::Access;
using graph::BindingDesc;
using graph::DType;
using graph::KernelDesc;
using graph::Shape;
using graph::Tensor;
using graph::Variant;

namespace {

constexpr uint32_t kPushBytes = sizeof(shaders::SamplePush);

constexpr std::array kAdvanceBindings{BindingDesc{"columns", Access::read_write},
                                      BindingDesc{"states", Access::read_write},
                                      BindingDesc{"picks"},
                                      BindingDesc{"counts", Access::read_write},
                                      BindingDesc{"ring", Access::write},
                                      BindingDesc{"reports", Access::write},
                                      BindingDesc{"hidden"},
                                      BindingDesc{"hidden_next", Access::write}};
constexpr std::array kDraftBindings{
    BindingDesc{"columns", Access::read_write}, BindingDesc{"states"}, BindingDesc{"picks"},
    BindingDesc{"next", Access::write}, BindingDesc{"drafts", Access::write}};
constexpr std::array kAdvanceVariants{Variant{"portable", "sample_advance"}};
constexpr std::array kDraftVariants{Variant{"portable", "sample_draft"}};

void check_outputs(const SampleOutputs& outputs, uint64_t n_sequences) {
  const Tensor& ring = outputs.ring;
  KL_CHECK(ring.dtype == DType::u32 && ring.shape.rank() == 2 && ring.shape[0] == n_sequences &&
               ring.n_elements() <= UINT32_MAX,
           "ring [n_sequences, capacity]");
  KL_CHECK(outputs.reports.dtype == DType::u32 &&
               outputs.reports.shape == (Shape{n_sequences, kReportWords}),
           "reports [n_sequences, 6]");
}

/// The width of a state; 0 where none is wanted. `n_next` is the number of states in hidden_next.
uint32_t check_hidden(const AcceptOptions& options, uint64_t n_rows, uint64_t n_next) {
  const bool wanted = options.hidden_next.rows.valid();
  KL_CHECK(options.hidden.valid() == wanted, "both states or neither");
  if (!wanted) return 0;
  KL_CHECK(options.hidden.dtype == DType::f32 && options.hidden.shape.rank() == 2 &&
               options.hidden.shape[0] == n_rows && options.hidden.n_elements() <= UINT32_MAX,
           "hidden [n, width]");
  const uint64_t width = options.hidden.shape[1];
  check_slice(options.hidden_next, n_next, width);
  return static_cast<uint32_t>(width);
}

void add_advance(const SamplePass& pass, const AdvanceInputs& in, const SampleOutputs& outputs,
                 const AcceptOptions& options) {
  const uint64_t n_rows = in.columns.shape[0];
  const uint64_t n_next = n_rows / in.n_columns;
  const uint32_t width = check_hidden(options, n_rows, n_next);
  const uint32_t subgroup = pass.graph.caps().subgroup_size;
  const bool shared = in.n_columns > 1 || width != 0;
  graph::Node node;
  node.kernel = &kSampleAdvance;
  node.variant = &pass.graph.pick(kSampleAdvance);
  node.label = fmt::format("{}.{}", pass.label, kSampleAdvance.name);
  // Bindings that are not used need a buffer.
  node.tensors = {in.columns,
                  in.states,
                  in.picks,
                  in.counts,
                  outputs.ring,
                  outputs.reports,
                  width != 0 ? options.hidden : in.picks,
                  width != 0 ? options.hidden_next.rows : outputs.reports};
  const uint32_t n_subgroups = shared ? std::clamp(256 / subgroup, 1u, kMaxSampleColumns) : 1;
  node.constants = {n_subgroups * subgroup, in.n_columns, width};
  shaders::SamplePush push = pass.push;
  push.ring_capacity = static_cast<uint32_t>(outputs.ring.shape[1]);
  push.agree = options.agree;
  if (width != 0) {
    push.hidden_stride = static_cast<uint32_t>(options.hidden_next.rows.shape[1]);
    push.hidden_first = static_cast<uint32_t>(options.hidden_next.first);
  }
  node.set_push(push);
  node.grid = {static_cast<uint32_t>(n_next), 1, 1};
  pass.graph.add(std::move(node));
}

}  // namespace

const KernelDesc kSampleDraft{"sample_draft", kDraftBindings, kPushBytes, kDraftVariants};
const KernelDesc kSampleAdvance{"sample_advance", kAdvanceBindings, kPushBytes, kAdvanceVariants};

void add_sample(graph::Graph& graph, const SampleInputs& inputs, const SampleOutputs& outputs,
                const std::string& label) {
  check_sample_inputs(graph, inputs);
  KL_CHECK(inputs.columns.shape[0] == inputs.logits.shape[0], "one row of logits for each column");
  check_outputs(outputs, inputs.states.shape[0]);
  const SamplePass pass = make_sample_pass(graph, inputs, label);
  const Tensor picks = add_pick(pass, inputs);
  add_advance(pass, {inputs.columns, inputs.states, picks, inputs.counts, 1}, outputs, {});
}

void add_sample_accept(graph::Graph& graph, const SampleInputs& inputs,
                       const SampleOutputs& outputs, const AcceptOptions& options,
                       const std::string& label) {
  check_sample_inputs(graph, inputs);
  KL_CHECK(inputs.columns.shape[0] == inputs.logits.shape[0], "one row of logits for each column");
  KL_CHECK(inputs.states.shape[0] == 1, "drafts of one sequence");
  check_outputs(outputs, 1);
  const SamplePass pass = make_sample_pass(graph, inputs, label);
  const Tensor picks = add_pick(pass, inputs);
  const auto n_columns = static_cast<uint32_t>(inputs.columns.shape[0]);
  add_advance(pass, {inputs.columns, inputs.states, picks, inputs.counts, n_columns}, outputs,
              options);
}

void add_sample_draft(graph::Graph& graph, const SampleInputs& inputs, uint32_t index,
                      const DraftOutputs& outputs, const std::string& label) {
  check_sample_inputs(graph, inputs);
  KL_CHECK(inputs.logits.shape[0] == 1, "a drafter's logits [1, vocab]");
  KL_CHECK(index + 1 < inputs.columns.shape[0], "no column for the draft");
  const Tensor& next = outputs.next;
  KL_CHECK(next.dtype == DType::u32 && next.shape == (Shape{1, kColumnWords}), "next [1, 4]");
  KL_CHECK(outputs.drafts.dtype == DType::u32 && outputs.drafts.n_elements() > index, "drafts [n]");
  SamplePass pass = make_sample_pass(graph, inputs, label);
  // Columns after this one are of an earlier round.
  pass.push.n_columns = index + 1;
  pass.push.first_column = index;
  const Tensor picks = add_pick(pass, inputs);
  pass.add(kSampleDraft, SamplePass::Spread::columns,
           {inputs.columns, inputs.states, picks, next, outputs.drafts});
}

void add_sample_advance(graph::Graph& graph, const AdvanceInputs& inputs,
                        const SampleOutputs& outputs, const AcceptOptions& options,
                        const std::string& label) {
  const uint64_t n_rows = inputs.columns.shape[0];
  const uint64_t n_sequences = inputs.states.shape[0];
  KL_CHECK(inputs.n_columns >= 1 && inputs.n_columns <= kMaxSampleColumns, "1 to 8 columns");
  KL_CHECK(n_rows == n_sequences * inputs.n_columns, "as many columns for each sequence");
  KL_CHECK(inputs.picks.shape.rank() == 3 && inputs.picks.shape[0] == n_rows, "a pick per column");
  KL_CHECK(inputs.counts.shape.rank() == 2 && inputs.counts.shape[0] == n_sequences,
           "counts [n_sequences, vocab]");
  check_outputs(outputs, n_sequences);
  SamplePass pass{graph, label, static_cast<uint32_t>(n_rows), {}};
  pass.push.vocab = static_cast<uint32_t>(inputs.counts.shape[1]);
  pass.push.n_chunks = static_cast<uint32_t>(inputs.picks.shape[1]);
  add_advance(pass, inputs, outputs, options);
}

}  // namespace kimberlite::kernels
