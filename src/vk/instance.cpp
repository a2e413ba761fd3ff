// The Vulkan instance: loader, validation layer and its messages, physical devices.
#include <fmt/format.h>

#include <mutex>
#include <string_view>

#include "vk/device.hpp"
#include "vk/handle.hpp"
#include "vk/vulkan_query.hpp"

namespace kimberlite::vk {
namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

/// What the messenger callback writes into; it may be called from any thread that calls Vulkan.
struct MessageLog {
  std::mutex mutex;
  std::vector<std::string> messages;
};

VKAPI_ATTR VkBool32 VKAPI_CALL collect_message(VkDebugUtilsMessageSeverityFlagBitsEXT /*severity*/,
                                               VkDebugUtilsMessageTypeFlagsEXT /*types*/,
                                               const VkDebugUtilsMessengerCallbackDataEXT* data,
                                               void* user) {
  auto* log = static_cast<MessageLog*>(user);
  const std::lock_guard lock(log->mutex);
  // Newer layers leave the name out of the text.
  log->messages.push_back(
      fmt::format("{}: {}", data->pMessageIdName != nullptr ? data->pMessageIdName : "(unnamed)",
                  data->pMessage != nullptr ? data->pMessage : "(empty message)"));
  return VK_FALSE;
}

bool has_layer(const char* name) {
  uint32_t n = 0;
  if (vkEnumerateInstanceLayerProperties(&n, nullptr) != VK_SUCCESS) return false;
  std::vector<VkLayerProperties> layers(n);
  if (vkEnumerateInstanceLayerProperties(&n, layers.data()) < VK_SUCCESS) return false;
  for (const VkLayerProperties& layer : layers)
    if (std::string_view(layer.layerName) == name) return true;
  return false;
}

bool has_instance_extension(const char* name) {
  uint32_t n = 0;
  if (vkEnumerateInstanceExtensionProperties(nullptr, &n, nullptr) != VK_SUCCESS) return false;
  std::vector<VkExtensionProperties> extensions(n);
  if (vkEnumerateInstanceExtensionProperties(nullptr, &n, extensions.data()) < VK_SUCCESS)
    return false;
  for (const VkExtensionProperties& extension : extensions)
    if (std::string_view(extension.extensionName) == name) return true;
  return false;
}

VkDebugUtilsMessengerCreateInfoEXT messenger_info(MessageLog* log) {
  auto info = vk_info<VkDebugUtilsMessengerCreateInfoEXT>(
      VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT);
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                         VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
  info.pfnUserCallback = &collect_message;
  info.pUserData = log;
  return info;
}

VkResult create_instance(const InstanceOptions& options,
                         const VkDebugUtilsMessengerCreateInfoEXT& messenger,
                         VkInstance& instance) {
  auto application = vk_info<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
  application.pApplicationName = "kimberlite";
  application.apiVersion = VK_API_VERSION_1_3;
  std::vector<const char*> layers;
  std::vector<const char*> extensions;
  // Names of objects and regions reach captures and validation messages through this one.
  if (options.validation || has_instance_extension(VK_EXT_DEBUG_UTILS_EXTENSION_NAME))
    extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);

  const VkValidationFeatureEnableEXT enabled[] = {
      VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
  auto validation = vk_info<VkValidationFeaturesEXT>(VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT);
  validation.pNext = &messenger;  // sees the messages of vkCreateInstance itself
  validation.enabledValidationFeatureCount = 1;
  validation.pEnabledValidationFeatures = enabled;
  auto info = vk_info<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
  info.pApplicationInfo = &application;
  if (options.validation) {
    layers.push_back(kValidationLayer);
    extensions.push_back(VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME);
    info.pNext = &validation;
  }
  info.enabledLayerCount = static_cast<uint32_t>(layers.size());
  info.ppEnabledLayerNames = layers.data();
  info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
  info.ppEnabledExtensionNames = extensions.data();
  return vkCreateInstance(&info, nullptr, &instance);
}

}  // namespace

struct Instance::State {
  MessageLog log;
  VkInstance instance = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
  std::vector<VkPhysicalDevice> devices;
  std::vector<DeviceSnapshot> snapshots;
};

Instance::Instance() : state_(std::make_unique<State>()) {}

Instance::~Instance() {
  if (state_->messenger != VK_NULL_HANDLE)
    vkDestroyDebugUtilsMessengerEXT(state_->instance, state_->messenger, nullptr);
  if (state_->instance != VK_NULL_HANDLE) vkDestroyInstance(state_->instance, nullptr);
}

Result<std::unique_ptr<Instance>> Instance::make(const InstanceOptions& options) {
  if (volkInitialize() != VK_SUCCESS) {
    return Error{ErrorCode::no_device,
                 "no Vulkan loader on this machine (libvulkan.so.1 or vulkan-1.dll): install the "
                 "graphics driver"};
  }
  if (options.validation && !has_layer(kValidationLayer)) {
    return Error{ErrorCode::unsupported,
                 fmt::format("validation was asked for, but the layer {} is not installed (Debian "
                             "package vulkan-validationlayers)",
                             kValidationLayer)};
  }

  std::unique_ptr<Instance> result(new Instance());
  State& state = *result->state_;
  const auto messenger = messenger_info(&state.log);
  const VkResult made = create_instance(options, messenger, state.instance);
  if (made != VK_SUCCESS) {
    state.instance = VK_NULL_HANDLE;
    return Error{ErrorCode::no_device,
                 fmt::format("no usable Vulkan driver: vkCreateInstance returned {}; install or "
                             "update the graphics driver",
                             result_text(made))};
  }
  volkLoadInstance(state.instance);
  if (options.validation)
    KL_VK(vkCreateDebugUtilsMessengerEXT(state.instance, &messenger, nullptr, &state.messenger));

  uint32_t n = 0;
  KL_VK(vkEnumeratePhysicalDevices(state.instance, &n, nullptr));
  state.devices.resize(n);
  KL_VK(vkEnumeratePhysicalDevices(state.instance, &n, state.devices.data()));
  for (VkPhysicalDevice device : state.devices)
    state.snapshots.push_back(take_snapshot(state.instance, device));
  return result;
}

std::vector<DeviceSnapshot> Instance::snapshots() const { return state_->snapshots; }

VkPhysicalDevice Instance::physical_device(size_t index) const {
  KL_CHECK(index < state_->devices.size(), "device index out of range");
  return state_->devices[index];
}

std::vector<std::string> Instance::validation_messages() const {
  const std::lock_guard lock(state_->log.mutex);
  return state_->log.messages;
}

}  // namespace kimberlite::vk
