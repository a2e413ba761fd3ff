// The executables of a session, by phase and number of columns. Each is recorded at its first use
// and replayed from then on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "base/result.hpp"
#include "graph/executable.hpp"
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
};

struct PassKey {
  PassEnd end = PassEnd::cache;
  uint32_t n_columns = 1;
  bool profiled = false;
  auto operator<=>(const PassKey&) const = default;
};

class Passes {
 public:
  /// All three must outlive the passes.
  Passes(Engine& engine, const KvCache& cache, const Sequence& sequence)
      : engine_(&engine), cache_(&cache), sequence_(&sequence) {}

  /// Errors: out_of_memory, device.
  Result<const graph::Executable*> get(const PassKey& key);

  /// Makes the pipelines of these passes, in parallel, with progress (done, total).
  Status prepare(std::span<const PassKey> keys,
                 const std::function<void(size_t, size_t)>& progress = {});

 private:
  [[nodiscard]] graph::Graph build(const PassKey& key) const;

  Engine* engine_;  // Borrowed from the caller, like the two below.
  const KvCache* cache_;
  const Sequence* sequence_;
  std::map<PassKey, std::unique_ptr<graph::Executable>> executables_;
};

}  // namespace kimberlite::runtime
