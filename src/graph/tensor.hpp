// Tensor: a cheap view of device memory with an element type and a shape.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/result.hpp"
#include "vk/memory.hpp"

namespace kimberlite::graph {

enum class DType : uint8_t {
  f32,
  u32,
  i32,
  wide,  // opaque 16-byte units: packed weights and the KV cache
};

[[nodiscard]] constexpr uint64_t dtype_bytes(DType dtype) { return dtype == DType::wide ? 16 : 4; }

/// Up to three dimensions, slowest first. Missing leading dimensions count as 1.
class Shape {
 public:
  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<uint64_t> dims) {
    for (const uint64_t dim : dims) dims_[rank_++] = dim;
  }
  [[nodiscard]] constexpr uint32_t rank() const { return rank_; }
  [[nodiscard]] constexpr uint64_t operator[](uint32_t axis) const { return dims_[axis]; }
  [[nodiscard]] constexpr uint64_t n_elements() const {
    uint64_t n = 1;
    for (uint32_t axis = 0; axis < rank_; ++axis) n *= dims_[axis];
    return n;
  }
  constexpr bool operator==(const Shape&) const = default;

 private:
  std::array<uint64_t, 3> dims_{};
  uint32_t rank_ = 0;
};

/// Views are contiguous. Either external (a range of a buffer that someone owns) or transient (the
/// graph's plan gives it a place in the scratch buffer).
struct Tensor {
  static constexpr uint32_t kExternal = UINT32_MAX;

  const vk::Buffer* buffer = nullptr;  // Borrowed from its owner; nullptr for a transient.
  uint32_t transient = kExternal;      // index into Graph::transients()
  uint64_t offset_bytes = 0;           // within the buffer, or within the transient
  uint64_t n_bytes = 0;
  DType dtype = DType::f32;
  Shape shape;

  [[nodiscard]] bool valid() const { return n_bytes != 0; }
  [[nodiscard]] uint64_t n_elements() const { return shape.n_elements(); }

  /// An external tensor over the start of `range`, which must be large enough.
  static Tensor of(const vk::BufferRange& range, DType dtype, Shape shape) {
    const uint64_t n_bytes = shape.n_elements() * dtype_bytes(dtype);
    KL_CHECK(n_bytes <= range.n_bytes, "tensor does not fit its range");
    return {range.buffer, kExternal, range.offset_bytes, n_bytes, dtype, shape};
  }

  /// The same elements in another shape.
  [[nodiscard]] Tensor reshaped(Shape other) const {
    KL_CHECK(other.n_elements() == shape.n_elements(), "a shape of another size");
    Tensor view = *this;
    view.shape = other;
    return view;
  }

  /// `n_rows` rows (slowest axis) from `first_row` on. The byte offset must keep the device's
  /// storage alignment; Graph::add checks it.
  [[nodiscard]] Tensor rows(uint64_t first_row, uint64_t n_rows) const {
    KL_CHECK(shape.rank() == 2 && first_row + n_rows <= shape[0], "rows out of range");
    const uint64_t row_bytes = shape[1] * dtype_bytes(dtype);
    Tensor view = *this;
    view.offset_bytes += first_row * row_bytes;
    view.n_bytes = n_rows * row_bytes;
    view.shape = Shape{n_rows, shape[1]};
    return view;
  }
};

}  // namespace kimberlite::graph
