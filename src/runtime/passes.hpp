// The executables of a session, by phase and number of columns. Each is recorded at its first use
// and replayed from then on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "graph/executable.hpp"
#include "kernels/sample.hpp"
#include "model/decoder.hpp"
#include "runtime/engine.hpp"
#include "runtime/kv_cache.hpp"
#include "runtime/sequence.hpp"

namespace kimberlite::runtime {

/// What a pass ends with.
enum class PassEnd : uint8_t {
  cache,   // K and V are in the cache: prefill
  logits,  // and the logits of every column in Sequence::logits()
  step,    // and the next token is sampled and becomes the next column
  // The three parts of a round, in this order:
  draft,   // drafts are in Sequence::columns() behind the pending token, n_columns with it
  verify,  // as logits, of these columns
  accept,  // tokens are sampled, compared with the drafts and emitted
};

struct PassKey {
  PassEnd end = PassEnd::cache;
  uint32_t n_columns = 1;
  bool profiled = false;
  uint32_t agree = 0;   // of accept: kernels::AcceptOptions
  bool masked = false;  // of step and accept: Sequence::masks() says what may be drawn
  bool soft = false;    // of cache: some columns take embeddings from Sequence::soft()
  auto operator<=>(const PassKey&) const = default;
};

class Passes {
 public:
  /// All three must outlive the passes.
  Passes(Engine& engine, const KvCache& cache, const Sequence& sequence)
      : engine_(&engine), cache_(&cache), sequence_(&sequence) {}

  /// Errors: out_of_memory, device.
  Result<const graph::Executable*> get(const PassKey& key);

  /// What a pass is made of, where `policy` chooses.
  [[nodiscard]] graph::Graph build(const PassKey& key, const graph::VariantPolicy& policy) const;

  /// Runs the pass and keeps nothing of it: of each node the shortest time of `n_runs`, after one
  /// more. Errors: out_of_memory, device, unsupported (a queue without timestamps).
  Result<std::vector<graph::NodeTime>> time_nodes(const PassKey& key,
                                                  const graph::VariantPolicy& policy,
                                                  uint32_t n_runs);

  /// Makes the pipelines of these passes, in parallel, with progress (done, total).
  Status prepare(std::span<const PassKey> keys,
                 const std::function<void(size_t, size_t)>& progress = {});

 private:
  Result<graph::Executable> record(const graph::Graph& graph,
                                   const graph::ExecutableOptions& options);
  [[nodiscard]] kernels::SampleInputs sample_inputs(uint32_t n_columns) const;
  void add_model(graph::Graph& graph, const PassKey& key) const;
  void add_drafts(graph::Graph& graph, uint32_t n_drafts) const;
  void add_sampling(graph::Graph& graph, const PassKey& key) const;

  Engine* engine_;  // Borrowed from the caller, like the two below.
  const KvCache* cache_;
  const Sequence* sequence_;
  std::map<PassKey, std::unique_ptr<graph::Executable>> executables_;
};

}  // namespace kimberlite::runtime
