# The Vulkan drivers that the gpu and model tiers run on: KIMBERLITE_DRIVERS, and for each the
# environment of its tests in KIMBERLITE_DRIVER_<name>, and what starts them in
# KIMBERLITE_LAUNCHER_<name> where they need it. All tests share lavapipe's compiled shaders:
# a program with an empty cache of its own would spend most of its time in LLVM.

set(KIMBERLITE_DRIVERS "")
file(GLOB lavapipe_icd /usr/share/vulkan/icd.d/lvp_icd*.json)
if(lavapipe_icd)
  list(GET lavapipe_icd 0 lavapipe_icd)
  set(KIMBERLITE_DRIVER_lavapipe "VK_ICD_FILENAMES=${lavapipe_icd}"
      "MESA_SHADER_CACHE_DIR=${PROJECT_BINARY_DIR}/tests/mesa-cache")
  list(APPEND KIMBERLITE_DRIVERS lavapipe)
endif()
if(EXISTS /usr/lib/chromium/vk_swiftshader_icd.json)
  set(KIMBERLITE_DRIVER_swiftshader VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json)
  list(APPEND KIMBERLITE_DRIVERS swiftshader)
endif()
# The newest lavapipe is in the driver lab: entries of `ctest -C lab` alone, skipped without a lab.
if(TARGET kimberlite-dry-run)
  list(APPEND KIMBERLITE_DRIVERS lavapipe-new)
  set(KIMBERLITE_DRIVER_lavapipe-new VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json
      "MESA_SHADER_CACHE_DIR=${PROJECT_BINARY_DIR}/tests/mesa-cache-new")
  set(KIMBERLITE_CONFIGURATION_lavapipe-new CONFIGURATIONS lab)
  set(KIMBERLITE_LAUNCHER_lavapipe-new ${PROJECT_SOURCE_DIR}/tools/driver-lab/inside.sh
      ${PROJECT_SOURCE_DIR}/build/driver-lab)
endif()
# Newer validation layers look into shaders only when they are told to; without, no hazard shows.
foreach(driver ${KIMBERLITE_DRIVERS})
  list(PREPEND KIMBERLITE_DRIVER_${driver} VK_LAYER_SYNCVAL_SHADER_ACCESSES_HEURISTIC=1)
endforeach()
