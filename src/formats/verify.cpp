// A block is finite where its scales are (half_offsets in quant.hpp), so nothing needs decoding but
// the few MXFP4 blocks whose scale is near the end of what float32 holds.
#include "formats/verify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/numeric.hpp"
#include "base/parallel.hpp"
#include "formats/quant.hpp"

namespace kimberlite::formats {
namespace {

constexpr uint64_t kChunkBytes = kMiB;
constexpr uint64_t kChunksPerThread = 4;

/// "NaN", "+Inf", "-Inf", or nothing for a number.
std::optional<std::string_view> fault_of(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return std::nullopt;
}

/// The findings in some blocks of one tensor.
class Inspector {
 public:
  Inspector(const TensorInfo& tensor, uint64_t first_block, uint64_t n_blocks)
      : tensor_(tensor), traits_(traits(tensor.type)) {
    const std::span<const uint32_t> halves = half_offsets_of(tensor.type);
    for (uint64_t block = first_block; block < first_block + n_blocks; ++block) {
      switch (tensor.type) {
        case GgmlType::f32:
          look(block, 0, load<float>(at(block)));
          break;
        case GgmlType::f64:
          look(block, 0, load<double>(at(block)));
          break;
        case GgmlType::bf16:
          look(block, 0, bfloat_to_float(load<uint16_t>(at(block))));
          break;
        case GgmlType::mxfp4:
          look_at_mxfp4(block);
          break;
        case GgmlType::nvfp4:
          look_at_nvfp4(block);
          break;
        default:
          for (const uint32_t offset : halves) {
            look(block, offset, half_to_float(load<uint16_t>(at(block) + offset)));
          }
      }
    }
  }

  /// Whether the layout of `type` is known here.
  static bool knows(GgmlType type) {
    return can_dequantize(type) || type == GgmlType::f64 || is_integer(type);
  }

  uint64_t n_bad = 0;
  std::vector<Finding> first;

 private:
  static bool is_integer(GgmlType type) {
    return type == GgmlType::i8 || type == GgmlType::i16 || type == GgmlType::i32 ||
           type == GgmlType::i64;
  }
  static std::span<const uint32_t> half_offsets_of(GgmlType type) {
    return can_dequantize(type) ? half_offsets(type) : std::span<const uint32_t>();
  }

  [[nodiscard]] const std::byte* at(uint64_t block) const {
    return tensor_.data.data() + block * traits_.block_bytes;
  }

  void look(uint64_t block, uint64_t offset, double value) {
    const auto fault = fault_of(value);
    if (fault) add(block, offset, *fault);
  }

  void add(uint64_t block, uint64_t offset, std::string_view fault) {
    if (n_bad++ >= kFindingsPerTensor) return;
    const std::string_view subject = traits_.block_elems == 1 ? "value" : "scale";
    first.push_back({fmt::format("{} is {}", subject, fault), block * traits_.block_elems,
                     tensor_.offset + block * traits_.block_bytes + offset});
  }

  // 0xff is NaN. 0xfd and 0xfe are powers of two that overflow with the larger codes.
  void look_at_mxfp4(uint64_t block) {
    const auto scale = load<uint8_t>(at(block));
    if (scale < 0xfd) return;
    if (scale == 0xff) return add(block, 0, "NaN");
    std::array<float, 32> values{};
    dequantize_row(GgmlType::mxfp4, at(block), values.data(), values.size());
    const auto overflow = std::ranges::find_if(values, [](float v) { return std::isinf(v); });
    if (overflow != values.end()) add(block, 0, "too large for its codes");
  }

  // The scales are unsigned: the bit above E4M3's NaN means nothing.
  void look_at_nvfp4(uint64_t block) {
    for (uint64_t i = 0; i < 4; ++i) {
      if ((load<uint8_t>(at(block) + i) & 0x7f) == 0x7f) add(block, i, "NaN");
    }
  }

  const TensorInfo& tensor_;  // Borrowed from the file.
  const GgmlTraits& traits_;
};

/// All of one tensor, on several threads. `on_bytes` gets the bytes looked at since the last call;
/// returning false ends the work.
TensorFindings inspect(const TensorInfo& tensor, uint32_t n_threads,
                       const std::function<bool(uint64_t)>& on_bytes) {
  const uint64_t block_bytes = traits(tensor.type).block_bytes;
  const uint64_t n_blocks = tensor.data.size() / block_bytes;
  const uint64_t chunk = kChunkBytes / block_bytes;
  TensorFindings findings;
  for (uint64_t begin = 0; begin < n_blocks;) {
    const uint64_t end = std::min(n_blocks, begin + chunk * kChunksPerThread * n_threads);
    std::vector<std::optional<Inspector>> parts(div_up(end - begin, chunk));
    parallel_for(parts.size(), n_threads, [&](uint64_t i) {
      const uint64_t first = begin + i * chunk;
      parts[i].emplace(tensor, first, std::min(chunk, end - first));
    });
    for (const std::optional<Inspector>& part : parts) {
      findings.n_bad += part->n_bad;
      const size_t n_left = kFindingsPerTensor - findings.first.size();
      for (const Finding& finding :
           std::span(part->first).first(std::min(n_left, part->first.size()))) {
        findings.first.push_back(finding);
      }
    }
    if (!on_bytes((end - begin) * block_bytes)) break;
    begin = end;
  }
  return findings;
}

}  // namespace

Result<VerifyReport> verify(const GgufFile& file, uint32_t n_threads,
                            const std::function<bool(uint64_t, uint64_t)>& progress) {
  VerifyReport report;
  uint64_t n_total = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    if (Inspector::knows(tensor.type)) n_total += tensor.data.size();
  }
  bool cancelled = false;
  const auto on_bytes = [&](uint64_t n) {
    report.n_bytes += n;
    cancelled = progress && !progress(report.n_bytes, n_total);
    return !cancelled;
  };
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const TensorInfo& tensor = file.tensors()[i];
    if (!Inspector::knows(tensor.type)) {
      report.unchecked.push_back(i);
      continue;
    }
    TensorFindings findings = inspect(tensor, thread_count(n_threads), on_bytes);
    if (cancelled) return Error{ErrorCode::cancelled, "reading was cancelled"};
    file.release(tensor);
    findings.tensor = i;
    report.n_bad += findings.n_bad;
    if (findings.n_bad != 0) report.bad.push_back(std::move(findings));
  }
  return report;
}

}  // namespace kimberlite::formats
