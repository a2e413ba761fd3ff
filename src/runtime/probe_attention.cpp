// RoPE with the cache write, and attention over the cache.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/attention.hpp"
#include "kernels/rope_kv.hpp"
#include "runtime/probe_checks.hpp"
#include "runtime/probe_inputs.hpp"

namespace kimberlite::runtime {

namespace reference = kernels::reference;
using graph::DType;
using graph::Graph;
using graph::Shape;
using graph::Tensor;
using kernels::HostCache;
using kernels::KvCacheView;
using kernels::KvType;

namespace {

constexpr float kEps = 1e-6f;
constexpr uint32_t kColumns = 8;
constexpr uint32_t kPrefillColumns = 11;  // 9 and padding
constexpr uint32_t kPrefillActive = 9;
constexpr uint32_t kLongestContext = 262144;
/// The number of rows in a segment is a push constant, so short ones prove the pipelines of all.
constexpr uint32_t kProbeSegmentRows = kernels::kAttentionChunk;

const char* type_text(KvType type) {
  switch (type) {
    case KvType::f32:
      return "f32";
    case KvType::f16:
      return "f16";
    case KvType::q8_0:
      return "q8_0";
  }
  return "?";
}

/// What tells the checks of one kind of layer from another's.
std::string kind_text(const AttentionKind& kind, KvType type) {
  return fmt::format("{} heads {}/{} of {} window {} pairs {}{}{}", type_text(type), kind.n_heads,
                     kind.n_kv_heads, kind.rope.head_dim, kind.window, kind.rope.n_pairs,
                     kind.shares_kv ? " shared" : "",
                     kind.own_key == kernels::OwnKey::hidden ? " drafter" : "");
}

std::vector<uint32_t> column_words(uint32_t first_position, uint32_t n, uint32_t n_active) {
  std::vector<uint32_t> words;
  for (uint32_t i = 0; i < n; ++i) {
    words.insert(words.end(), {0, first_position + i, 0, i < n_active ? 1u : 0u});
  }
  return words;
}

void append(reference::Expected& all, const reference::Expected& part) {
  all.values.insert(all.values.end(), part.values.begin(), part.values.end());
  all.bounds.insert(all.bounds.end(), part.bounds.begin(), part.bounds.end());
}

/// The rows of `n` positions of a cache tensor as floats, [n, n_kv_heads * head_dim].
ProbeOutput cache_output(const KvCacheView& view, const Tensor& tensor, uint32_t first_position,
                         uint32_t n) {
  const auto read = [=](ProbeMemory& memory) {
    HostCache cache(view);
    cache.assign(memory.bytes(tensor));
    std::vector<float> values;
    for (uint32_t position = first_position; position < first_position + n; ++position) {
      for (uint32_t i = 0; i < view.n_kv_heads * view.head_dim; ++i) {
        values.push_back(cache.get(0, position, i / view.head_dim, i % view.head_dim));
      }
    }
    return values;
  };
  return {tensor, read};
}

const graph::KernelDesc& rope_kernel(const AttentionKind& kind) {
  return kind.table ? kernels::kRopeKvTable : kernels::kRopeKv;
}

/// K or V: the rows, or segments, the last one first in memory, and their table.
Tensor add_cache(ProbeMemory& memory, const HostCache& cache) {
  const KvCacheView& view = cache.view();
  const size_t n_bytes = cache.bytes().size();
  if (!view.has_table()) {
    return memory.add(cache.bytes().data(), n_bytes, DType::wide, kv_shape(view));
  }
  std::vector<Tensor> segments(kv_segments(view));
  const size_t segment_bytes = n_bytes / segments.size();
  for (size_t i = segments.size(); i-- > 0;) {
    segments[i] = memory.add(&cache.bytes()[i * segment_bytes], segment_bytes, DType::wide,
                             Shape{segment_bytes / 16});
  }
  return memory.add_table(segments);
}

/// Raw projections of the columns and the norms of a head.
struct RopeInputs {
  std::vector<float> q, k, v, q_norm, k_norm;
};

reference::Expected rope_heads(const std::vector<float>& raw, const std::vector<float>& norm,
                               const kernels::RopeShape& rope, uint32_t first_position,
                               bool rotates) {
  const size_t d = rope.head_dim;
  const size_t n_heads = raw.size() / d / kColumns;
  reference::Expected all;
  for (size_t row = 0; row < raw.size() / d; ++row) {
    const auto position = first_position + static_cast<uint32_t>(row / n_heads);
    append(all, reference::rope_head(std::span(raw).subspan(row * d, d), norm, rope, position,
                                     rotates, kEps));
  }
  return all;
}

/// The queries of layers that read the cache of another one.
ProbeCheck rope_q_check(ProbeMemory& memory, const AttentionKind& kind) {
  constexpr uint32_t kFirst = 262143 - kColumns;
  const uint64_t d = kind.rope.head_dim;
  const uint64_t width = kind.n_heads * d;
  const auto raw = probe_values(kColumns * width, 21, 3.0f);
  const auto norm = probe_values(d, 24);
  const Tensor norm_tensor = memory.add(norm, Shape{d});
  const Tensor table = memory.add(kernels::make_rope_table(kind.rope),
                                  Shape{2 * kernels::kRopeTableRows, 2 * kind.rope.n_pairs});
  ProbeCheck check{fmt::format("{} heads {} of {} pairs {}", kernels::kRopeQ.name, kind.n_heads, d,
                               kind.rope.n_pairs),
                   &kernels::kRopeQ,
                   {},
                   kColumns,
                   {},
                   {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const Shape shape{n, width};
    const Tensor q_raw = memory.add(std::span(raw).subspan(first * width, n * width), shape);
    const Tensor columns = memory.add(column_words(kFirst + first, n, n), Shape{n, 4});
    const Tensor q = memory.add_output(DType::f32, shape);
    const auto add = [=](Graph& graph) {
      kernels::add_rope_q(graph, {q_raw, norm_tensor, columns, table, q, kEps}, "rope_q");
    };
    return ProbePass{first, n, add, {{q, {}}}};
  });
  check.expected = {rope_heads(raw, norm, kind.rope, kFirst, true)};
  return check;
}

ProbeCheck rope_check(ProbeMemory& memory, const AttentionKind& kind, KvType type) {
  // Near the end of the longest context, where a table that is a little wrong shows.
  constexpr uint32_t kFirst = kLongestContext - 1 - kColumns;
  const uint64_t d = kind.rope.head_dim;
  const uint64_t q_width = kind.n_heads * d;
  const uint64_t kv_width = kind.n_kv_heads * d;
  const RopeInputs raw{
      probe_values(kColumns * q_width, 21, 3.0f), probe_values(kColumns * kv_width, 22, 0.1f),
      probe_values(kColumns * kv_width, 23, 20.0f), probe_values(d, 24), probe_values(d, 25)};
  KvCacheView view{.type = type,
                   .n_kv_heads = kind.n_kv_heads,
                   .head_dim = kind.rope.head_dim,
                   .n_rows = kernels::kAttentionChunk};
  const Tensor q_norm = memory.add(raw.q_norm, Shape{d});
  const Tensor k_norm = memory.add(raw.k_norm, Shape{d});
  const Tensor table = memory.add(kernels::make_rope_table(kind.rope),
                                  Shape{2 * kernels::kRopeTableRows, 2 * kind.rope.n_pairs});
  ProbeCheck check{rope_check_name(kind, type), &rope_kernel(kind), {}, kColumns, {}, {}};
  check.passes = make_sweep([&](uint32_t first, uint32_t n) {
    const auto rows = [&](const std::vector<float>& all, uint64_t width) {
      return memory.add(std::span(all).subspan(first * width, n * width), Shape{n, width});
    };
    const Tensor k = memory.add_output(DType::wide, kv_shape(view));
    const Tensor v = memory.add_output(DType::wide, kv_shape(view));
    KvCacheView cache = view;
    cache.k = k;
    cache.v = v;
    if (kind.table) {  // the rows are the last segment of the longest cache, the only one there is
      cache.n_rows = kLongestContext;
      cache.segment_rows = kProbeSegmentRows;
      std::vector<Tensor> segments(kv_segments(cache));
      segments.back() = k;
      cache.k = memory.add_table(segments);
      segments.back() = v;
      cache.v = memory.add_table(segments);
    }
    const kernels::RopeKvInputs args{rows(raw.q, q_width),
                                     rows(raw.k, kv_width),
                                     rows(raw.v, kv_width),
                                     q_norm,
                                     k_norm,
                                     memory.add(column_words(kFirst + first, n, n), Shape{n, 4}),
                                     table,
                                     memory.add_output(DType::f32, Shape{n, q_width}),
                                     kEps};
    const auto add = [=](Graph& graph) { kernels::add_rope_kv(graph, args, cache, "rope_kv"); };
    return ProbePass{first,
                     n,
                     add,
                     {{args.q, {}},
                      cache_output(view, k, kFirst + first, n),
                      cache_output(view, v, kFirst + first, n)}};
  });
  check.expected = {rope_heads(raw.q, raw.q_norm, kind.rope, kFirst, true),
                    rope_heads(raw.k, raw.k_norm, kind.rope, kFirst, true),
                    rope_heads(raw.v, {}, kind.rope, kFirst, false)};
  reference::add_kv_rounding(check.expected[1], type);
  reference::add_kv_rounding(check.expected[2], type);
  return check;
}

/// A cache of random rows and queries that look at the last of them.
struct AttentionInputs {
  KvCacheView view;  // with tensors
  HostCache k, v;
  std::vector<float> q;  // [kPrefillColumns, n_heads * head_dim]
  uint32_t first_position = 0;
};

AttentionInputs make_attention_inputs(ProbeMemory& memory, const AttentionKind& kind, KvType type,
                                      uint32_t n_chunks) {
  const uint32_t d = kind.rope.head_dim;
  // All but the last columns of the rows; with a window the ring has wrapped.
  const uint32_t n_rows = n_chunks * kernels::kAttentionChunk;
  KvCacheView view{.type = type,
                   .n_kv_heads = kind.n_kv_heads,
                   .head_dim = d,
                   .n_rows = n_rows,
                   .window = std::min(kind.window, n_rows / 2),
                   .segment_rows = kind.table ? kProbeSegmentRows : 0};
  AttentionInputs inputs{view, HostCache(view), HostCache(view), {}, 0};
  inputs.first_position = view.window == 0 ? n_rows - kPrefillColumns - 2 : 1000;
  const uint32_t end = inputs.first_position + kPrefillColumns;
  const uint32_t begin = view.window == 0 ? 0 : inputs.first_position - view.window + 1;
  for (uint32_t position = begin; position < end; ++position) {
    for (uint32_t head = 0; head < kind.n_kv_heads; ++head) {
      const uint32_t seed = 1000 + (position * 16 + head) * 2;
      inputs.k.set(0, position, head, probe_values(d, seed, 1.7f).data());
      inputs.v.set(0, position, head, probe_values(d, seed + 1, 1.7f).data());
    }
  }
  // Scores with a standard deviation of about 2, so that several keys matter.
  const float scale = 3.5f / std::sqrt(static_cast<float>(d));
  inputs.q = probe_values(uint64_t{kPrefillColumns} * kind.n_heads * d, 26, scale);
  inputs.view.k = add_cache(memory, inputs.k);
  inputs.view.v = add_cache(memory, inputs.v);
  return inputs;
}

/// Columns of a picture that see each other, from `first` on.
struct PictureColumns {
  uint32_t first = 0;
  uint32_t n = 0;

  [[nodiscard]] uint32_t n_ahead(uint32_t column) const {
    return column >= first && column < first + n ? first + n - 1 - column : 0;
  }
};

reference::Expected expected_attention(const AttentionInputs& inputs, const AttentionKind& kind,
                                       uint32_t n, uint32_t n_active,
                                       const PictureColumns& picture = {}) {
  const size_t d = kind.rope.head_dim;
  const uint32_t group = kind.n_heads / kind.n_kv_heads;
  reference::Expected all;
  for (uint32_t column = 0; column < n; ++column) {
    for (uint32_t head = 0; head < kind.n_heads; ++head) {
      if (column >= n_active) {
        append(all, {std::vector<double>(d), std::vector<double>(d)});
        continue;
      }
      const auto q = std::span(inputs.q).subspan((column * kind.n_heads + head) * d, d);
      append(all,
             reference::attention_head(inputs.k, inputs.v, q, 0, inputs.first_position + column,
                                       head / group, kind.own_key, picture.n_ahead(column)));
    }
  }
  return all;
}

ProbePass attention_pass(ProbeMemory& memory, const vk::Caps& caps, const AttentionInputs& inputs,
                         const AttentionKind& kind, uint32_t first, uint32_t n, uint32_t n_active,
                         const PictureColumns& picture = {}) {
  const uint64_t width = uint64_t{kind.n_heads} * kind.rope.head_dim;
  const Tensor q =
      memory.add(std::span(inputs.q).subspan(first * width, n * width), Shape{n, width});
  std::vector<uint32_t> words = column_words(inputs.first_position + first, n, n_active);
  for (uint32_t i = 0; i < n; ++i) words[i * 4 + 3] += picture.n_ahead(first + i);
  const Tensor columns = memory.add(words, Shape{n, 4});
  const kernels::ActivationRows out = add_rows(memory, caps, n, width);
  const auto add = [=, view = inputs.view](Graph& graph) {
    kernels::add_attention(graph, q, columns, view, out, kind.n_heads, "attention", kind.own_key);
  };
  return {first, n, add, row_outputs(out)};
}

}  // namespace

std::string rope_check_name(const AttentionKind& kind, KvType type) {
  return fmt::format("{} {}", rope_kernel(kind).name, kind_text(kind, type));
}

std::string picture_check_name(const AttentionKind& kind, KvType type) {
  return fmt::format("picture {}", kind_text(kind, type));
}

ProbeCheck picture_check(ProbeMemory& memory, const vk::Caps& caps, const AttentionKind& kind,
                         KvType type) {
  constexpr PictureColumns kPicture{2, 5};
  const uint64_t width = uint64_t{kind.n_heads} * kind.rope.head_dim;
  const AttentionInputs inputs = make_attention_inputs(memory, kind, type, 3);
  const graph::KernelDesc& prefill = kernels::attention_kernels(inputs.view).prefill;
  ProbeCheck check{picture_check_name(kind, type), &prefill, {}, kPrefillColumns, {}, {}};
  check.passes = {
      attention_pass(memory, caps, inputs, kind, 0, kPrefillColumns, kPrefillActive, kPicture)};
  check.expected = expect_rows(
      caps, expected_attention(inputs, kind, kPrefillColumns, kPrefillActive, kPicture), width);
  return check;
}

std::vector<ProbeCheck> attention_checks(ProbeMemory& memory, const vk::Caps& caps,
                                         const AttentionKind& kind, KvType type) {
  std::vector<ProbeCheck> checks;
  const bool drafts = kind.own_key == kernels::OwnKey::hidden;
  if (!drafts) checks.push_back(rope_check(memory, kind, type));
  if (kind.shares_kv) checks.push_back(rope_q_check(memory, kind));

  const uint64_t width = uint64_t{kind.n_heads} * kind.rope.head_dim;
  // A cache of one chunk has nothing to split, and a kernel of its own.
  for (const uint32_t n_chunks : {3u, 1u}) {
    const AttentionInputs inputs = make_attention_inputs(memory, kind, type, n_chunks);
    const bool splits =
        kernels::pick_attention_tiling(caps, inputs.view, kind.n_heads, 1).n_splits > 1;
    const kernels::AttentionKernels kernels = kernels::attention_kernels(inputs.view);
    const graph::KernelDesc& decode = splits ? kernels.merged : kernels.decode;
    ProbeCheck check{fmt::format("{} {} chunks {}", decode.name, kind_text(kind, type), n_chunks),
                     &decode,
                     {},
                     kColumns,
                     {},
                     {}};
    check.passes = make_sweep([&](uint32_t first, uint32_t n) {
      return attention_pass(memory, caps, inputs, kind, first, n, n);
    });
    check.expected = expect_rows(caps, expected_attention(inputs, kind, kColumns, kColumns), width);
    checks.push_back(std::move(check));
  }
  if (drafts) return checks;

  const AttentionInputs inputs = make_attention_inputs(memory, kind, type, 3);
  const graph::KernelDesc& prefill = kernels::attention_kernels(inputs.view).prefill;
  checks.push_back({fmt::format("{} {}", prefill.name, kind_text(kind, type)),
                    &prefill,
                    {},
                    kPrefillColumns,
                    {},
                    {}});
  checks.back().passes = {
      attention_pass(memory, caps, inputs, kind, 0, kPrefillColumns, kPrefillActive)};
  checks.back().expected =
      expect_rows(caps, expected_attention(inputs, kind, kPrefillColumns, kPrefillActive), width);
  return checks;
}

}  // namespace kimberlite::runtime
