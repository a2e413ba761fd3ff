# Prints "NAME SOURCE DEFINE..." of each kimberlite_prebuilt of MANIFEST.
function(kimberlite_module)
endfunction()
function(kimberlite_prebuilt name)
  cmake_parse_arguments(MODULE "" "SOURCE" "DEFINES" ${ARGN})
  list(JOIN MODULE_DEFINES " " defines)
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${name} ${MODULE_SOURCE} ${defines}")
endfunction()
include(${MANIFEST})
