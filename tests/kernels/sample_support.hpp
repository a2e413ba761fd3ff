// What the tests of sampling share: sequences with their logits, and their upload.
#pragma once

#include <cstring>
#include <optional>
#include <vector>

#include "kernels/sample.hpp"
#include "kernels/sample_oracle.hpp"
#include "shaders/common/columns.h"
#include "support/gpu.hpp"

namespace kimberlite::kernels {

/// What one recorded sampling pass works on: a sequence for each column unless `columns` says
/// otherwise.
struct Batch {
  uint32_t vocab = 0;
  std::vector<std::vector<float>> logits;      // [n][vocab]
  std::vector<shaders::Column> columns;        // [n]
  std::vector<shaders::SequenceState> states;  // [n_sequences]
  std::vector<std::vector<uint32_t>> counts;   // [n_sequences][vocab]
  std::vector<uint32_t> suppress;
  std::vector<std::vector<uint32_t>> masks;  // [n][(vocab + 31) / 32], or empty

  void add_column(std::vector<float> row, const SamplingSettings& settings, uint32_t position) {
    vocab = static_cast<uint32_t>(row.size());
    logits.push_back(std::move(row));
    columns.push_back({0, position, static_cast<uint32_t>(states.size()), 1});
    shaders::SequenceState state{};
    state.position = position + 1;
    state.token_limit = 1000;
    state.context_limit = 1u << 20;
    set_sampling(state, settings);
    states.push_back(state);
    counts.emplace_back(vocab);
  }

  /// What the host draws for a column, without drafts.
  [[nodiscard]] std::optional<uint32_t> expected(size_t column) const {
    const shaders::Column& c = columns[column];
    const HostSample in{logits[column],
                        counts[c.sequence],
                        {},
                        suppress,
                        c.position + 1,
                        masks.empty() ? std::span<const uint32_t>() : masks[column]};
    return sample_on_host(in, states[c.sequence]);
  }
};

template <typename T>
std::vector<T> flat(const std::vector<std::vector<T>>& rows) {
  std::vector<T> all;
  for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

template <typename T>
std::vector<uint32_t> as_words(const std::vector<T>& values) {
  std::vector<uint32_t> words(values.size() * sizeof(T) / 4);
  std::memcpy(words.data(), values.data(), words.size() * 4);
  return words;
}

class SamplePassTest : public testing::GpuTest {
 protected:
  SampleInputs upload_inputs(const Batch& batch) {
    const uint64_t n = batch.logits.size();
    const uint64_t n_sequences = batch.states.size();
    SampleInputs in;
    in.logits = upload(flat(batch.logits), graph::Shape{n, batch.vocab});
    in.columns = upload(as_words(batch.columns), graph::Shape{n, 4});
    in.states = upload(as_words(batch.states), graph::Shape{n_sequences, 24});
    in.counts = upload(flat(batch.counts), graph::Shape{n_sequences, batch.vocab});
    if (!batch.suppress.empty())
      in.suppress = upload(batch.suppress, graph::Shape{batch.suppress.size()});
    if (!batch.masks.empty())
      in.mask = upload(flat(batch.masks), graph::Shape{n, batch.masks[0].size()});
    return in;
  }

  template <typename T>
  void write(const graph::Tensor& tensor, const std::vector<T>& values) {
    ASSERT_EQ(values.size() * sizeof(T), tensor.n_bytes);
    const vk::BufferRange range{tensor.buffer, tensor.offset_bytes, tensor.n_bytes};
    ASSERT_TRUE(vk::write_range(*gpu_.device, range, values.data(), tensor.n_bytes).ok());
  }

  /// A graph that is recorded once, to be run many times.
  struct Recorded {
    vk::Buffer scratch;
    std::optional<graph::Executable> executable;
  };

  Recorded record(const graph::Graph& graph) {
    Recorded pass;
    const graph::Plan plan = make_plan(graph);
    pass.scratch =
        vk::Buffer::make(*gpu_.device, plan.scratch_bytes, vk::MemoryKind::device, "scratch")
            .value();
    pass.executable = graph::Executable::make(*gpu_.device, *gpu_.pipelines, graph, plan,
                                              {&pass.scratch, 0, pass.scratch.n_bytes()})
                          .value();
    return pass;
  }

  void replay(const Recorded& pass) {
    ASSERT_TRUE(gpu_.device->run(pass.executable->commands()).ok());
  }
};

}  // namespace kimberlite::kernels
