# The Vulkan drivers that the gpu and model tiers run on: KIMBERLITE_DRIVERS, and for each its ICD
# file in KIMBERLITE_DRIVER_<name>.

set(KIMBERLITE_DRIVERS "")
file(GLOB lavapipe_icd /usr/share/vulkan/icd.d/lvp_icd*.json)
if(lavapipe_icd)
  list(GET lavapipe_icd 0 KIMBERLITE_DRIVER_lavapipe)
  list(APPEND KIMBERLITE_DRIVERS lavapipe)
endif()
if(EXISTS /usr/lib/chromium/vk_swiftshader_icd.json)
  set(KIMBERLITE_DRIVER_swiftshader /usr/lib/chromium/vk_swiftshader_icd.json)
  list(APPEND KIMBERLITE_DRIVERS swiftshader)
endif()
