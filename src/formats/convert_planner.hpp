// What every conversion does with tensors: it matches those that a config predicts, by name and
// exact shape, and remembers which of the files' tensors it used. Internal to formats.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/safetensors.hpp"

namespace kimberlite::formats {

struct PlannedTensor {
  std::string name;
  GgmlType type;
  std::vector<uint64_t> ne;         // input-first
  const SafetensorsTensor* source;  // null where the values follow from the config
  /// Pushes all bytes, in `type`; empty where they are those of `source` in its order.
  std::function<Status(const ByteSink&)> make = {};
};

struct TensorPlan {
  std::vector<PlannedTensor> tensors;
  uint64_t n_skipped = 0;  // tensors of the files that belong into another output
  std::vector<std::string> notes;
};

/// Not thread-safe. All errors of tensors name them: bad_file where one is missing or of another
/// shape, unsupported for a dtype that cannot be read.
class Planner {
 public:
  /// `type`: of the matrices.
  Planner(const Safetensors& files, GgmlType type) : files_(files), type_(type) {}

  /// The files' tensor of this name and shape (input-first), which counts as used from now on.
  Result<const SafetensorsTensor*> take(const std::string& source_name,
                                        std::span<const uint64_t> ne);

  Status add_vector(std::string name, const std::string& source_name, uint64_t n) {
    return add(std::move(name), source_name, GgmlType::f32, {n});
  }
  /// A matrix, or one for each expert, of pick_matrix_type.
  Status add_matrix(std::string name, const std::string& source_name, std::vector<uint64_t> ne);
  /// A matrix that steers much with little: at least as exact as `least`.
  Status add_fine_matrix(std::string name, const std::string& source_name, GgmlType least,
                         std::vector<uint64_t> ne);
  /// A tensor whose elements change places: element i of the output is element order(i) of the
  /// source, whose shape is `source_ne`. The source is in memory whole while that is done; messages
  /// count the output's elements. f32, or where the matrices are quantised `small`.
  Status add_rearranged(std::string name, const std::string& source_name,
                        std::span<const uint64_t> source_ne, std::vector<uint64_t> ne,
                        std::function<uint64_t(uint64_t)> order, GgmlType small = GgmlType::f32);
  /// What a matrix with rows of `n_in` becomes; f16, with a note, where they are no whole blocks.
  GgmlType pick_matrix_type(std::string_view name, uint64_t n_in);
  /// Anything else.
  void add(PlannedTensor tensor) { plan_.tensors.push_back(std::move(tensor)); }

  [[nodiscard]] const Safetensors& files() const { return files_; }
  [[nodiscard]] bool has(std::string_view source_name) const {
    return files_.find(source_name) != nullptr;
  }
  [[nodiscard]] bool is_used(std::string_view source_name) const {
    return used_.contains(source_name);
  }
  [[nodiscard]] TensorPlan& plan() { return plan_; }

 private:
  Status add(std::string name, const std::string& source_name, GgmlType type,
             std::vector<uint64_t> ne);
  Result<const SafetensorsTensor*> take_floats(const std::string& source_name,
                                               std::span<const uint64_t> ne);

  const Safetensors& files_;  // Borrowed from the caller.
  GgmlType type_;
  std::set<std::string, std::less<>> used_;
  TensorPlan plan_;
};

/// Whether a tensor of this official name is part of what turns pictures and sounds into vectors.
bool is_media_tensor(std::string_view name);

/// Pushes the bytes of `tensor` in its planned type, some megabytes at a time, and releases the
/// source's pages when done.
Status stream_tensor(const PlannedTensor& tensor, const Safetensors& files, const ByteSink& sink);

}  // namespace kimberlite::formats
