#include "model/weight_loader.hpp"

#include <algorithm>
#include <cstring>

#include "base/numeric.hpp"
#include "base/parallel.hpp"
#include "formats/quant.hpp"

namespace kimberlite::model {
namespace {

/// Matrices are repacked into host memory in pieces of about this size where the device's memory is
/// not mapped.
constexpr uint64_t kStagingBytes = 32 * kMiB;

/// Fills tensors one after another, several threads to a matrix.
class Loader {
 public:
  Loader(const formats::GgufFile& file, vk::Device& device, const LoadOptions& options,
         uint64_t total_bytes)
      : file_(file), device_(device), options_(options), total_bytes_(total_bytes) {
    n_threads_ = thread_count(options.n_threads);
  }

  Status load(const WeightEntry& entry) {
    if (options_.cancelled && options_.cancelled()) {
      return Error{ErrorCode::cancelled, "loading was cancelled"};
    }
    if (entry.matrix != nullptr) {
      KL_TRY(load_matrix(entry));
    } else {
      KL_TRY(load_vector(entry));
    }
    for (const formats::TensorInfo* source : entry.sources) file_.release(*source);
    done_bytes_ += entry.source_bytes();
    if (options_.progress) {
      options_.progress(static_cast<double>(done_bytes_) / static_cast<double>(total_bytes_));
    }
    return {};
  }

 private:
  Status load_vector(const WeightEntry& entry) {
    if (!entry.words.empty()) return write_vector(*entry.vector, entry.words.data());
    const formats::TensorInfo& source = *entry.sources.front();
    std::vector<float> values(source.n_elements());
    formats::dequantize_row(source.type, source.data.data(), values.data(), values.size());
    if (entry.scalar != nullptr) {
      *entry.scalar = values[0];
      return {};
    }
    for (float& value : values) value *= entry.factor;
    return write_vector(*entry.vector, values.data());
  }

  Status write_vector(const graph::Tensor& tensor, const void* values) {
    return vk::write_range(device_, {tensor.buffer, tensor.offset_bytes, tensor.n_bytes}, values,
                           tensor.n_bytes);
  }

  Status load_matrix(const WeightEntry& entry) {
    for (const kernels::Shard& shard : entry.matrix->shards) {
      KL_TRY(load_shard(entry, shard));
    }
    return {};
  }

  /// Panels are contiguous in both planes, so any run of panels is one range of each.
  Status load_shard(const WeightEntry& entry, const kernels::Shard& shard) {
    const uint64_t codes_bytes = entry.layout.codes_panel_bytes;
    const uint64_t scales_bytes = entry.layout.scales_panel_bytes;
    const uint64_t n_panels = div_up(shard.n_rows, kernels::kPanelRows);
    std::byte* codes = mapped(shard.codes);
    std::byte* scales = mapped(shard.scales);
    const bool direct = codes != nullptr && (scales != nullptr || scales_bytes == 0);
    const uint64_t step =
        direct ? n_panels : std::max<uint64_t>(1, kStagingBytes / (codes_bytes + scales_bytes));

    for (uint64_t first = 0; first < n_panels; first += step) {
      const uint64_t n = std::min(step, n_panels - first);
      if (!direct) {
        staging_codes_.resize(n * codes_bytes);
        staging_scales_.resize(n * scales_bytes);
        codes = staging_codes_.data();
        scales = staging_scales_.data();
      }
      const uint64_t first_row = first * kernels::kPanelRows;
      pack(entry, shard.first_row + first_row,
           std::min(n * kernels::kPanelRows, shard.n_rows - first_row), codes, scales);
      if (direct) continue;
      KL_TRY(upload(shard.codes, first * codes_bytes, staging_codes_));
      if (scales_bytes != 0) KL_TRY(upload(shard.scales, first * scales_bytes, staging_scales_));
    }
    return {};
  }

  /// Rows from a panel's start on. Panels are independent.
  void pack(const WeightEntry& entry, uint64_t first_row, uint64_t n_rows, std::byte* codes,
            std::byte* scales) const {
    const kernels::PackedLayout& layout = entry.layout;
    parallel_for(div_up(n_rows, kernels::kPanelRows), n_threads_, [&](uint64_t panel) {
      const uint64_t row = panel * kernels::kPanelRows;
      const uint64_t n = std::min(kernels::kPanelRows, n_rows - row);
      std::vector<std::byte> gathered;
      kernels::pack_rows(layout, n, read_rows(entry, first_row + row, n, gathered),
                         {codes + panel * layout.codes_panel_bytes, layout.codes_panel_bytes},
                         {scales + panel * layout.scales_panel_bytes, layout.scales_panel_bytes});
    });
  }

  /// GGUF bytes of rows of a matrix: where they lie together in the file, else a copy in
  /// `gathered`.
  static std::span<const std::byte> read_rows(const WeightEntry& entry, uint64_t row,
                                              uint64_t n_rows, std::vector<std::byte>& gathered) {
    const uint64_t end = row + n_rows;
    while (row < end) {
      const RowPart part = entry.find_rows(row);
      const uint64_t n = std::min(part.n_rows, end - row);
      const uint64_t row_bytes = *formats::row_bytes(entry.layout.type, entry.layout.n_cols);
      row += n;
      if (part.source == nullptr) {
        gathered.resize(gathered.size() + n * row_bytes);
        continue;
      }
      const auto bytes = part.source->data.subspan(part.first_row * row_bytes, n * row_bytes);
      if (n == n_rows) return bytes;
      gathered.insert(gathered.end(), bytes.begin(), bytes.end());
    }
    return gathered;
  }

  static std::byte* mapped(const graph::Tensor& tensor) {
    if (!tensor.valid() || tensor.buffer->mapped() == nullptr) return nullptr;
    return tensor.buffer->mapped() + tensor.offset_bytes;
  }

  Status upload(const graph::Tensor& tensor, uint64_t offset, const std::vector<std::byte>& bytes) {
    return vk::write_range(device_, {tensor.buffer, tensor.offset_bytes, tensor.n_bytes},
                           bytes.data(), bytes.size(), offset);
  }

  const formats::GgufFile& file_;  // Borrowed, like the two below.
  vk::Device& device_;
  const LoadOptions& options_;
  uint64_t total_bytes_;
  uint64_t done_bytes_ = 0;
  uint32_t n_threads_ = 1;
  std::vector<std::byte> staging_codes_;
  std::vector<std::byte> staging_scales_;
};

}  // namespace

WeightPlan plan_table(const WeightTable& table, const vk::Caps& caps, uint32_t n_layers,
                      uint32_t n_gpu_layers) {
  WeightPlan plan;
  plan.layer_bytes.resize(n_layers);
  for (const WeightEntry& entry : table.entries()) {
    uint64_t n_bytes = 0;
    for (const uint64_t range : entry.range_bytes) {
      n_bytes += align_up<uint64_t>(range, caps.storage_alignment);
    }
    (entry.on_host(n_gpu_layers) ? plan.host_bytes : plan.device_bytes) += n_bytes;
    switch (entry.layer) {
      case WeightEntry::kShared:
        plan.shared_bytes += n_bytes;
        break;
      case WeightEntry::kTable:
        plan.table_bytes += n_bytes;
        break;
      default:
        plan.layer_bytes[entry.layer] += n_bytes;
    }
    if (entry.matrix == nullptr) continue;
    const kernels::MatrixKind kind{entry.layout.type, entry.layout.linear_class};
    const bool is_table = entry.layer == WeightEntry::kTable;
    if (entry.experts) plan.experts.insert(kind);
    if (entry.gated) plan.gated.insert(kind);
    if (!is_table) plan.matrices.insert(kind);
    if (!is_table && !entry.is_embedding && !entry.is_head) {
      (entry.experts ? plan.expert_macs : plan.position_macs)[kind.linear_class] +=
          entry.layout.n_rows * entry.layout.n_cols;
    }
    if (is_table || entry.is_embedding) plan.tables.insert(kind);
  }
  return plan;
}

Status load_table(WeightTable& table, const formats::GgufFile& file, vk::Device& device,
                  const LoadOptions& options, vk::Arena& device_arena, vk::Arena& host_arena) {
  KL_TRY(table.allocate(device_arena, host_arena, options.n_gpu_layers));
  if (options.dry) return {};
  uint64_t total_bytes = 0;
  for (const WeightEntry& entry : table.entries()) total_bytes += entry.source_bytes();
  Loader loader(file, device, options, total_bytes);
  for (const WeightEntry& entry : table.entries()) KL_TRY(loader.load(entry));
  return {};
}

}  // namespace kimberlite::model
