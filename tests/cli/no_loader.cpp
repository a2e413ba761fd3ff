// A library to preload: a machine without the Vulkan loader, whatever is installed on it.
#include <dlfcn.h>

#include <cstring>

extern "C" void* dlopen(const char* path, int flags) noexcept {
  if (path != nullptr && std::strstr(path, "libvulkan") != nullptr) return nullptr;
  using Open = void* (*)(const char*, int);
  static const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "dlopen"));
  return next(path, flags);
}
