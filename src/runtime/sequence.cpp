#include "runtime/sequence.hpp"

#include <algorithm>
#include <cstring>

#include "base/numeric.hpp"
#include "kernels/attention.hpp"
#include "kimberlite/generation.hpp"
#include "runtime/kv_cache.hpp"
#include "shaders/sample.h"
#include "shaders/soft_rows.h"

namespace kimberlite::runtime {
namespace {

using graph::DType;
using graph::Shape;
using graph::Tensor;
using vk::MemoryKind;

vk::BufferRange range_of(const Tensor& tensor) {
  return {tensor.buffer, tensor.offset_bytes, tensor.n_bytes};
}

}  // namespace

Result<Tensor> Sequence::add(uint64_t n_words, MemoryKind kind, DType dtype, Shape shape,
                             const char* name) {
  KL_ASSIGN(vk::Buffer buffer,
            vk::Buffer::make(engine_->device(), n_words * sizeof(uint32_t), kind, name));
  buffers_.push_back(std::make_unique<vk::Buffer>(std::move(buffer)));
  return Tensor::of({buffers_.back().get(), 0, buffers_.back()->n_bytes()}, dtype, shape);
}

Result<Sequence> Sequence::make(Engine& engine) {
  Sequence s;
  s.engine_ = &engine;
  const uint64_t n_vocab = engine.config().n_vocab;
  const auto u32 = [&](uint64_t rows, uint64_t n, MemoryKind kind, const char* name) {
    return s.add(rows * n, kind, DType::u32, Shape{rows, n}, name);
  };
  KL_ASSIGN(s.host_columns_, u32(engine.pass_rows(), 4, MemoryKind::upload, "columns"));
  KL_ASSIGN(s.columns_, u32(kernels::kMaxDecodeColumns, 4, MemoryKind::device, "decode columns"));
  constexpr uint64_t kStateWords = sizeof(shaders::SequenceState) / sizeof(uint32_t);
  KL_ASSIGN(s.state_, u32(1, kStateWords, MemoryKind::device, "sequence state"));
  KL_ASSIGN(s.counts_, u32(1, n_vocab, MemoryKind::device, "token counts"));
  KL_ASSIGN(s.ring_, u32(1, kRingTokens, MemoryKind::readback, "token ring"));
  constexpr uint64_t kReportWords = sizeof(shaders::SequenceReport) / sizeof(uint32_t);
  KL_ASSIGN(s.report_, u32(1, kReportWords, MemoryKind::readback, "sequence report"));
  KL_ASSIGN(s.logits_, s.add(kernels::kMaxDecodeColumns * n_vocab, MemoryKind::device, DType::f32,
                             Shape{kernels::kMaxDecodeColumns, n_vocab}, "logits"));

  if (engine.drafter() != nullptr) KL_TRY(s.add_drafting());
  const std::vector<int32_t>& ids = engine.suppressed_ids();
  if (!ids.empty()) {
    KL_ASSIGN(s.suppressed_,
              s.add(ids.size(), MemoryKind::device, DType::u32, Shape{ids.size()}, "suppressed"));
    KL_TRY(vk::write_range(engine.device(), range_of(s.suppressed_), ids.data(),
                           ids.size() * sizeof(int32_t)));
  }
  KL_TRY(s.write_counts({}));
  return s;
}

Status Sequence::add_drafting() {
  const uint64_t width = engine_->config().width;
  const auto f32 = [&](uint64_t rows, uint64_t n, const char* name) {
    return add(rows * n, MemoryKind::device, DType::f32, Shape{rows, n}, name);
  };
  KL_ASSIGN(hidden_, f32(kernels::kMaxDecodeColumns, width, "hidden states"));
  KL_ASSIGN(draft_input_, f32(1, 2 * width, "draft input"));
  KL_ASSIGN(draft_column_, add(4, MemoryKind::device, DType::u32, Shape{1, 4}, "draft column"));
  KL_ASSIGN(drafts_,
            add(kMaxDrafts, MemoryKind::readback, DType::u32, Shape{kMaxDrafts}, "drafts"));
  return {};
}

Status Sequence::make_masks() {
  if (masks_.valid()) return {};
  constexpr uint64_t n = kernels::kMaxDecodeColumns;
  const uint64_t n_words = div_up(uint64_t{engine_->config().n_vocab}, uint64_t{32});
  KL_ASSIGN(masks_, add(n * n_words, MemoryKind::upload, DType::u32, Shape{n, n_words}, "masks"));
  return {};
}

std::span<uint32_t> Sequence::mask(uint32_t column) const {
  auto* words = reinterpret_cast<uint32_t*>(masks_.buffer->mapped());
  return std::span(words, masks_.n_elements()).subspan(column * masks_.shape[1], masks_.shape[1]);
}

Tensor Sequence::host_columns(uint32_t n) const { return host_columns_.rows(0, n); }
Tensor Sequence::logits(uint32_t n) const { return logits_.rows(0, n); }

void Sequence::write_columns(std::span<const int32_t> tokens, uint32_t first_position,
                             uint32_t n_columns) {
  KL_CHECK(tokens.size() <= n_columns && n_columns <= host_columns_.shape[0], "too many columns");
  auto* columns = reinterpret_cast<shaders::Column*>(host_columns_.buffer->mapped());
  for (uint32_t i = 0; i < n_columns; ++i) {
    const bool active = i < tokens.size();
    columns[i] = {active ? static_cast<uint32_t>(tokens[i]) : 0, first_position + i, 0,
                  active ? 1u : 0u};
  }
}

Status Sequence::add_media() {
  if (soft_.valid()) return {};
  const uint64_t n = engine_->pass_rows();
  const uint64_t width = engine_->config().width;
  KL_ASSIGN(sources_, add(n, MemoryKind::upload, DType::u32, Shape{n, 1}, "sources of embeddings"));
  KL_ASSIGN(soft_, add(n * width, MemoryKind::upload, DType::f32, Shape{n, width}, "embeddings"));
  return {};
}

/// What a placeholder's column looks up is written over: any token serves, and the first one, the
/// padding, is what the official model takes.
void Sequence::write_columns(const Prompt& prompt, uint32_t first, uint32_t n, uint32_t n_columns) {
  write_columns(std::span(prompt.tokens).subspan(first, n), first, n_columns);
  auto* columns = reinterpret_cast<shaders::Column*>(host_columns_.buffer->mapped());
  auto* sources = reinterpret_cast<uint32_t*>(sources_.buffer->mapped());
  auto* soft = reinterpret_cast<float*>(soft_.buffer->mapped());
  std::fill_n(sources, n_columns, shaders::kNoSource);
  const uint64_t width = soft_.shape[1];
  const uint32_t end = first + n;
  for (const SoftRun& run : prompt.runs) {
    const uint32_t run_begin = std::max(run.first, first);
    const uint32_t run_end = std::min(run.end(), end);
    if (run_begin >= run_end) continue;
    const bool whole = run.first >= first && run.end() <= end;
    KL_CHECK(whole || !run.soft->is_block, "a part of a block");
    for (uint32_t position = run_begin; position < run_end; ++position) {
      const uint32_t column = position - first;
      columns[column].token = 0;
      if (run.soft->is_block) columns[column].is_active = 1 + (run.end() - 1 - position);
      sources[column] = column;
    }
    std::copy_n(&run.soft->rows[(run_begin - run.first) * width], (run_end - run_begin) * width,
                &soft[(run_begin - first) * width]);
  }
}

Status Sequence::start(const shaders::SequenceState& state, const shaders::Column& column) {
  KL_TRY(vk::write_range(engine_->device(), range_of(state_), &state, sizeof(state)));
  return vk::write_range(engine_->device(), range_of(columns(1)), &column, sizeof(column));
}

Status Sequence::write_counts(std::span<const int32_t> history) {
  std::vector<uint32_t> counts(engine_->config().n_vocab);
  for (const int32_t token : history) ++counts[static_cast<size_t>(token)];
  return vk::write_range(engine_->device(), range_of(counts_), counts.data(),
                         counts.size() * sizeof(uint32_t));
}

Status Sequence::read_logits(uint32_t n, std::vector<float>& values) {
  values.resize(n * uint64_t{engine_->config().n_vocab});
  return vk::read_range(engine_->device(), range_of(logits(n)), values.data(),
                        values.size() * sizeof(float));
}

shaders::SequenceReport Sequence::read_report() const {
  shaders::SequenceReport report;
  std::memcpy(&report, report_.buffer->mapped(), sizeof(report));
  return report;
}

int32_t Sequence::read_token(uint32_t index) const {
  int32_t token = 0;
  std::memcpy(&token, ring_.buffer->mapped() + (index % kRingTokens) * sizeof(token),
              sizeof(token));
  return token;
}

std::optional<int32_t> Sequence::read_draft(uint32_t index) const {
  uint32_t draft = 0;
  std::memcpy(&draft, drafts_.buffer->mapped() + index * sizeof(draft), sizeof(draft));
  if (draft == shaders::kNoDraft) return std::nullopt;
  return static_cast<int32_t>(draft);
}

}  // namespace kimberlite::runtime
