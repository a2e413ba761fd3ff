// Tiny models on the test device, and a decoder that runs column by column without a session.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "graph/executable.hpp"
#include "model/decoder.hpp"
#include "runtime/engine.hpp"
#include "runtime/kv_cache.hpp"
#include "runtime/session.hpp"
#include "synthetic/model_file.hpp"

namespace kimberlite::testing {

/// The value, or the end of the test program with the error's message.
template <typename T>
T require_value(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::abort();
  }
  return std::move(result).value();
}
void require_ok(const Status& status);

/// Float32 activations, and float32 keys and values by default.
runtime::EngineOptions precise();

/// The most likely tokens; 0 = no limit.
runtime::GenerateRequest greedy(uint32_t max_tokens);

/// A model without weights, with two heads of keys and values in every layer: for what follows
/// from shapes alone.
model::ModelConfig config_of(const std::vector<model::LayerKind>& layers, uint32_t head_dim,
                             uint32_t context);

/// The largest |a[i] - b[i]|; infinite where the sizes differ, NaN where a value is.
double max_difference(const std::vector<float>& a, const std::vector<float>& b);

/// "tiny-e2b" as the name of a test.
std::string golden_test_name(const ::testing::TestParamInfo<const char*>& param);

/// Writes a shape with hash weights to a file that no other test has; returns its path.
std::string write_tiny(const std::string& shape, uint64_t seed, const synthetic::ModelTypes& types);

/// A buffer of a test's own, in device memory.
std::unique_ptr<vk::Buffer> make_buffer(runtime::Engine& engine, uint64_t n_bytes);

/// A tiny model in a file that it removes, opened by an engine with validation where it is
/// installed.
class TinyModel {
 public:
  TinyModel(const std::string& shape, uint64_t seed, synthetic::ModelTypes types,
            const runtime::EngineOptions& options = {});
  /// Takes over a file that exists.
  TinyModel(std::string path, runtime::EngineOptions options);
  ~TinyModel();
  [[nodiscard]] runtime::Engine& engine() { return *engine_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::unique_ptr<runtime::Engine> engine_;
};

/// Runs passes of n columns over a cache of its own, which starts with zeros.
class DecoderRun {
 public:
  DecoderRun(TinyModel& model, kernels::KvType kv_type, uint32_t context = 512);

  /// Columns at consecutive positions; returns their logits, n * n_vocab.
  std::vector<float> columns(const std::vector<int32_t>& tokens, uint32_t first_position);
  /// The residual stream after `n_layers` layers, n * width.
  std::vector<float> residual(const std::vector<int32_t>& tokens, uint32_t first_position,
                              uint32_t n_layers);
  /// Of a pass of one column through the first layers, the embedding and the result's norm
  /// included, on a device with `caps`.
  uint32_t n_dispatches(uint32_t n_layers, const vk::Caps& caps);
  /// Makes `kept` serve temporaries of the decoder's graph, by their names. Before the first pass.
  void keep(std::vector<std::string> names) { kept_names_ = std::move(names); }
  /// What the last pass left in one of them.
  template <typename T>
  std::vector<T> kept(const std::string& name);
  [[nodiscard]] const std::vector<kernels::KvCacheView>& caches() const { return cache_.layers(); }
  /// Every byte of the KV cache, segments left out.
  std::vector<std::byte> cache_bytes();

 private:
  /// (n columns, n layers, whether the logits are wanted)
  using Key = std::tuple<uint64_t, uint32_t, bool>;
  struct Pass {
    std::unique_ptr<vk::Buffer> columns;
    std::unique_ptr<vk::Buffer> out;
    std::unique_ptr<graph::Executable> executable;
    std::map<std::string, vk::BufferRange> kept;  // in the scratch buffer
  };
  void add_model(graph::Graph& graph, const Key& key, Pass& pass);
  Pass make_pass(const Key& key);
  std::vector<float> run(const std::vector<int32_t>& tokens, uint32_t first_position,
                         uint32_t n_layers, bool want_logits);

  runtime::Engine& engine_;  // Borrowed from the TinyModel.
  runtime::KvCache cache_;
  std::map<Key, Pass> passes_;
  const Pass* last_ = nullptr;  // in passes_
  std::vector<std::string> kept_names_;
};

template <typename T>
std::vector<T> DecoderRun::kept(const std::string& name) {
  KL_CHECK(last_ != nullptr && last_->kept.contains(name), name.c_str());
  const vk::BufferRange& range = last_->kept.at(name);
  std::vector<T> values(range.n_bytes / sizeof(T));
  require_ok(vk::read_range(engine_.device(), range, values.data(), range.n_bytes));
  return values;
}

}  // namespace kimberlite::testing
