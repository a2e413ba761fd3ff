// Kimberlite: Gemma 4 on any GPU through Vulkan. What a generation takes and gives is in
// kimberlite/generation.hpp, pictures and sounds are in kimberlite/media.hpp.
//
// Open a model, make a session, stream tokens:
//
//   auto model = kimberlite::Model::open("gemma-4-12b-it-q4_0.gguf", {});
//   auto session = (*model)->new_session({});
//   auto prompt = (*model)->encode_chat({{kimberlite::Role::user, "Hello"}});
//   auto read = (*session)->sync(*prompt);
//   auto result = (*session)->generate({}, [](const kimberlite::TokenEvent& event) {
//     std::cout << event.text << std::flush;
//     return true;  // false stops
//   });
//
// Each of them is a Result: check ok() before use (README.md has the whole program).
//
// Threads: a Model may be used from several threads at once for encoding and decoding; the sessions
// of one model share its device and must be driven from one thread at a time. Only
// Session::cancel() may be called from any thread at any time.
//
// Token ids are those of the model's vocabulary. Positions count tokens from 0. All text is UTF-8.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kimberlite/generation.hpp"
#include "kimberlite/result.hpp"

namespace kimberlite {

/// Called during long work with what is being done and how far it is, 0 to 1. The fraction never
/// falls while `what` stays the same, and ends with 1 unless the work fails; work that takes no
/// time, such as checks that were made before, may not be reported. Thread rule: called on the
/// thread that asked for the work and only until that call returns; it must not call the model or
/// session it is about, but for Session::cancel().
using Progress = std::function<void(std::string_view what, double fraction)>;

/// Element type of the KV cache.
enum class KvCacheType : uint8_t { f32, f16, q8_0 };

struct ModelOptions {
  std::string device;       // "" = best; an index, a part of the name, a vendor or a UUID
  bool validation = false;  // Vulkan validation layer, with synchronisation validation
  bool precise = false;     // float32 activations everywhere, and KvCacheType::f32 by default
  /// A drafter guesses the next tokens, the model checks them all in one pass: the same tokens,
  /// sooner. Without `draft_model` the first that lies beside the model and was made for it.
  bool draft = true;
  std::string draft_model;
  /// Pictures and sounds (media.hpp), by the projector `mmproj` or the first beside the model.
  bool media = true;
  std::string mmproj;
  std::optional<uint32_t> gpu_layers;  // layers in GPU memory; default: as many as fit
  /// The first session of a model on a device times the ways of computing the same bits, for as
  /// long as it reads some 1,200 tokens, and takes the fastest; the next start remembers. Never
  /// changes a token. Default: on GPUs.
  std::optional<bool> autotune;
  std::string cache_dir;  // pipelines, probe results, times; "" = the user's cache folder
  Progress progress;      // of checking the driver and loading weights
};

struct SessionOptions {
  uint32_t context = 0;                // positions; 0 = the largest that fits, at most the model's
  std::optional<KvCacheType> kv_type;  // default f16, or f32 where the model is precise
  Progress progress;                   // of preparing kernels
};

struct SyncResult {
  uint32_t reused = 0;      // positions whose cache entries were kept
  uint32_t recomputed = 0;  // positions that were computed
  double seconds = 0;
};

enum class Role : uint8_t { system, user, model };

struct ChatMessage {
  Role role = Role::user;
  std::string text;
};

/// One conversation: a KV cache and the tokens that it stands for.
class Session {
 public:
  ~Session();

  /// Makes the session stand for exactly `tokens` (at least one): keeps the longest common prefix,
  /// computes the rest. The last token is pending: it is computed by the next generate().
  /// Errors: context_full (with both numbers), cancelled (what was computed so far is kept),
  /// invalid_argument (a token id outside the vocabulary), out_of_memory (the cache cannot grow to
  /// that many tokens; the session stays as it was), device, device_lost.
  Result<SyncResult> sync(std::span<const int32_t> tokens, const Progress& progress = {});

  /// Continues after the synced tokens. `on_token` returns false to stop. Afterwards the session
  /// stands for the synced and all emitted tokens, the last one pending. Memory for max_tokens is
  /// taken first; without a limit it is taken as the text grows.
  /// Errors: as sync; context_full where not even one token fits.
  Result<GenerateResult> generate(const GenerateOptions& options,
                                  const std::function<bool(const TokenEvent&)>& on_token = {});

  /// Stops a running sync() or generate() soon. Thread-safe.
  void cancel();

  [[nodiscard]] DraftStatistics drafting() const;
  [[nodiscard]] const std::vector<int32_t>& tokens() const;
  [[nodiscard]] uint32_t context() const;

 private:
  friend class Model;
  friend struct Access;
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A model on a device.
class Model {
 public:
  /// Reads a GGUF file (the first one of a split model) and puts its weights on the device.
  /// Errors: io, bad_file, unsupported (naming what), no_device, out_of_memory (with the plan).
  static Result<std::unique_ptr<Model>> open(const std::string& path, const ModelOptions& options);
  ~Model();

  Result<std::unique_ptr<Session>> new_session(const SessionOptions& options);

  /// Tokens of plain text; begins with the <bos> token where `add_bos`. Text is never parsed for
  /// control tokens unless `parse_special`. Errors: unsupported (a model without a vocabulary).
  [[nodiscard]] Result<std::vector<int32_t>> encode(std::string_view text, bool add_bos = true,
                                                    bool parse_special = false) const;
  /// The prompt of a conversation, ready for the model's turn. Errors: unsupported where the
  /// vocabulary has no turn tokens.
  [[nodiscard]] Result<std::vector<int32_t>> encode_chat(
      const std::vector<ChatMessage>& messages) const;
  /// The bytes that a token stands for; not necessarily whole characters.
  [[nodiscard]] std::string decode(std::span<const int32_t> tokens) const;

  [[nodiscard]] uint32_t n_vocab() const;
  [[nodiscard]] uint32_t max_context() const;
  [[nodiscard]] std::string description() const;  // one line: name, size, types, device

 private:
  friend struct Access;
  struct State;
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kimberlite
