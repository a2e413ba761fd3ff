// KernelDesc: what the graph must know of a kernel, as constant data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vk/caps.hpp"

namespace kimberlite::graph {

enum class Access : uint8_t { read, write, read_write };

struct BindingDesc {
  std::string_view name;  // as in the shader
  Access access = Access::read;
  bool wide = false;  // big read-only data: a uniform texel buffer where Caps::wide_load says so
};

/// One build of a kernel. A kernel with a wide binding has two modules for each variant: `module`
/// and `module` + "_texel".
struct Variant {
  std::string_view name;                    // unique within the kernel
  std::string_view module;                  // in shaders/manifest.cmake
  bool (*fits)(const vk::Caps&) = nullptr;  // nullptr: needs nothing
};

struct KernelDesc {
  std::string_view name;
  std::span<const BindingDesc> bindings;
  uint32_t push_bytes = 0;
  std::span<const Variant> variants;  // best first; the last one needs nothing
  /// The first of the kernels that do the same in more dispatches where no variant is allowed;
  /// nullptr: there are none.
  const KernelDesc* instead = nullptr;

  [[nodiscard]] bool has_wide_binding() const {
    for (const BindingDesc& binding : bindings) {
      if (binding.wide) return true;
    }
    return false;
  }
};

/// Variants that failed their self-test, or that a test switches off, as "kernel:variant"; and
/// which of several ways to compute the same bits is taken.
class VariantPolicy {
 public:
  virtual ~VariantPolicy() = default;
  [[nodiscard]] virtual bool allows(std::string_view kernel, std::string_view variant) const = 0;
  /// An index into `ways`, names of which the first is the default. `work` says what is computed:
  /// the kernel, its shape and its columns.
  [[nodiscard]] virtual size_t choose([[maybe_unused]] std::string_view work,
                                      [[maybe_unused]] std::span<const std::string> ways) const {
    return 0;
  }
};

/// Whether a variant fits the device and the policy (nullptr: everything) allows it.
[[nodiscard]] bool can_use(const KernelDesc& kernel, const Variant& variant, const vk::Caps& caps,
                           const VariantPolicy* policy);

/// The first variant that fits the device and that the policy (nullptr: everything) allows; nullptr
/// when none does.
[[nodiscard]] const Variant* find_variant(const KernelDesc& kernel, const vk::Caps& caps,
                                          const VariantPolicy* policy = nullptr);
/// The same; the last one when none does.
[[nodiscard]] const Variant& pick_variant(const KernelDesc& kernel, const vk::Caps& caps,
                                          const VariantPolicy* policy = nullptr);

}  // namespace kimberlite::graph
