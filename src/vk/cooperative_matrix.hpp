// VK_KHR_cooperative_matrix (revision 2) as the registry has it: the headers of Debian 12 are
// older. Internal to vk.
#pragma once

#include <volk.h>

namespace kimberlite::vk::cooperative_matrix {

inline constexpr const char* kExtension = "VK_KHR_cooperative_matrix";
inline constexpr auto kFeaturesType = static_cast<VkStructureType>(1000506000);
inline constexpr auto kPropertiesType = static_cast<VkStructureType>(1000506001);

// Of VkComponentTypeKHR and VkScopeKHR.
inline constexpr int32_t kSint8 = 3;
inline constexpr int32_t kSint32 = 5;
inline constexpr int32_t kSubgroup = 3;

struct Features {
  VkStructureType sType = kFeaturesType;
  void* pNext = nullptr;
  VkBool32 cooperativeMatrix = VK_FALSE;
  VkBool32 cooperativeMatrixRobustBufferAccess = VK_FALSE;
};

struct Properties {
  VkStructureType sType = kPropertiesType;
  void* pNext = nullptr;
  uint32_t MSize = 0;
  uint32_t NSize = 0;
  uint32_t KSize = 0;
  int32_t AType = 0;
  int32_t BType = 0;
  int32_t CType = 0;
  int32_t ResultType = 0;
  VkBool32 saturatingAccumulation = VK_FALSE;
  int32_t scope = 0;
};

using GetProperties = VkResult(VKAPI_PTR*)(VkPhysicalDevice device, uint32_t* n,
                                           Properties* properties);
inline constexpr const char* kGetProperties = "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR";

}  // namespace kimberlite::vk::cooperative_matrix
