// Handle<T>: move-only owner of one Vulkan object that belongs to a VkDevice; vk_info: a structure.
#pragma once

#include <volk.h>

#include <utility>

namespace kimberlite::vk {

/// A zeroed Vulkan structure with its type set.
template <typename T>
[[nodiscard]] T vk_info(VkStructureType type) {
  T info{};
  info.sType = type;
  return info;
}

/// `Destroy` is the address of a volk function pointer such as &vkDestroyBuffer.
template <typename T, auto* Destroy>
class Handle {
 public:
  Handle() = default;
  Handle(VkDevice device, T object) : device_(device), object_(object) {}
  Handle(Handle&& other) noexcept { swap(other); }
  Handle& operator=(Handle&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Handle() {
    if (object_ != VK_NULL_HANDLE) (*Destroy)(device_, object_, nullptr);
  }

  [[nodiscard]] T get() const { return object_; }
  explicit operator bool() const { return object_ != VK_NULL_HANDLE; }

 private:
  void swap(Handle& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(object_, other.object_);
  }

  VkDevice device_ = VK_NULL_HANDLE;  // Borrowed from Device.
  T object_ = VK_NULL_HANDLE;
};

}  // namespace kimberlite::vk
