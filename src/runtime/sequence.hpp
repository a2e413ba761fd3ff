// Sequence: the device memory of one conversation beside its KV cache: columns, sampling state,
// logits, and what the host reads back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "graph/tensor.hpp"
#include "runtime/engine.hpp"
#include "runtime/prompt.hpp"
#include "shaders/common/columns.h"
#include "shaders/common/sequence.h"
#include "vk/memory.hpp"

namespace kimberlite::runtime {

/// Tokens that the output ring holds; the host reads each step long before it wraps.
inline constexpr uint32_t kRingTokens = 64;

class Sequence {
 public:
  /// Errors: out_of_memory, device.
  static Result<Sequence> make(Engine& engine);

  /// u32 [n, 4]: columns that the host writes (prefill, evaluation). n up to Engine::pass_rows().
  [[nodiscard]] graph::Tensor host_columns(uint32_t n) const;
  /// u32 [n, 4]: the columns of a decode pass: the pending token, which the sampler writes, then
  /// drafts. n up to kMaxDecodeColumns.
  [[nodiscard]] graph::Tensor columns(uint32_t n) const { return columns_.rows(0, n); }
  /// f32 [n, n_vocab], n up to kMaxDecodeColumns.
  [[nodiscard]] graph::Tensor logits(uint32_t n) const;
  /// f32 [n, width]: the model's states behind its final norm, n up to kMaxDecodeColumns.
  [[nodiscard]] graph::Tensor hidden(uint32_t n) const { return hidden_.rows(0, n); }
  /// f32 [1, 2 * width]: what a drafter starts from, an embedding and a state. Unset without one,
  /// as the two beside it.
  [[nodiscard]] const graph::Tensor& draft_input() const { return draft_input_; }
  /// u32 [1, 4]: the last draft, beside its place in columns().
  [[nodiscard]] const graph::Tensor& draft_column() const { return draft_column_; }
  /// u32 [kMaxDrafts]: the drafts of a round for read_draft().
  [[nodiscard]] const graph::Tensor& drafts() const { return drafts_; }
  /// u32 [n, (n_vocab + 31) / 32]: which tokens the columns may draw, n up to kMaxDecodeColumns.
  /// After make_masks().
  [[nodiscard]] graph::Tensor masks(uint32_t n) const { return masks_.rows(0, n); }
  [[nodiscard]] const graph::Tensor& state() const { return state_; }    // SequenceState
  [[nodiscard]] const graph::Tensor& counts() const { return counts_; }  // u32 [1, n_vocab]
  [[nodiscard]] const graph::Tensor& suppressed() const {
    return suppressed_;
  }                                                                      // u32 [n]; unset: none
  [[nodiscard]] const graph::Tensor& ring() const { return ring_; }      // u32 [1, kRingTokens]
  [[nodiscard]] const graph::Tensor& report() const { return report_; }  // SequenceReport

  /// f32 [n, width]: embeddings in the place of those of tokens, and u32 [n, 1]: which row of them
  /// each of host_columns() takes. Unset before add_media().
  [[nodiscard]] graph::Tensor soft(uint32_t n) const { return soft_.rows(0, n); }
  [[nodiscard]] graph::Tensor sources(uint32_t n) const { return sources_.rows(0, n); }

  /// Columns for `tokens` at consecutive positions, padded with inactive ones to `n_columns`.
  void write_columns(std::span<const int32_t> tokens, uint32_t first_position, uint32_t n_columns);
  /// Memory for pictures and sounds, where the model knows them. Errors: out_of_memory, device.
  Status add_media();
  /// Columns for tokens first .. first + n - 1 of a prompt with the embeddings in their places; a
  /// block of those is among them whole or not at all. After add_media().
  void write_columns(const Prompt& prompt, uint32_t first, uint32_t n, uint32_t n_columns);
  /// The state of a generation and the column that it begins with.
  Status start(const shaders::SequenceState& state, const shaders::Column& column);
  /// How often each token of `history` occurs, for the penalties.
  Status write_counts(std::span<const int32_t> history);
  /// Memory for masks, once there is a use for it. Errors: out_of_memory.
  Status make_masks();
  /// The bits of a column's mask, for the host to write while nothing runs.
  [[nodiscard]] std::span<uint32_t> mask(uint32_t column) const;
  /// Logits of the last pass with n columns.
  Status read_logits(uint32_t n, std::vector<float>& values);

  /// What the last finished step left.
  [[nodiscard]] shaders::SequenceReport read_report() const;
  [[nodiscard]] int32_t read_token(uint32_t index) const;  // the index-th emitted token
  /// The round's draft number `index`; nothing where it is of no use.
  [[nodiscard]] std::optional<int32_t> read_draft(uint32_t index) const;

 private:
  Result<graph::Tensor> add(uint64_t n_words, vk::MemoryKind kind, graph::DType dtype,
                            graph::Shape shape, const char* name);

  Status add_drafting();

  Engine* engine_ = nullptr;  // Borrowed from the session's owner.
  std::vector<std::unique_ptr<vk::Buffer>> buffers_;
  graph::Tensor host_columns_;
  graph::Tensor soft_;
  graph::Tensor sources_;
  graph::Tensor columns_;
  graph::Tensor hidden_;
  graph::Tensor draft_input_;
  graph::Tensor draft_column_;
  graph::Tensor drafts_;
  graph::Tensor masks_;
  graph::Tensor logits_;
  graph::Tensor state_;
  graph::Tensor counts_;
  graph::Tensor suppressed_;
  graph::Tensor ring_;
  graph::Tensor report_;
};

}  // namespace kimberlite::runtime
