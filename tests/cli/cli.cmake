# The command line on every driver, and the example of README.md.
find_program(PYTHON3 python3)
if(TARGET kimberlite AND PYTHON3)
  add_executable(readme_example ${PROJECT_SOURCE_DIR}/tests/api/readme_example.cpp)
  target_link_libraries(readme_example PRIVATE kimberlite_options kimberlite_runtime)
  set(no_loader "")
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT KIMBERLITE_SANITIZE)
    add_library(no_loader MODULE ${CMAKE_CURRENT_LIST_DIR}/no_loader.cpp)
    target_link_libraries(no_loader PRIVATE kimberlite_options ${CMAKE_DL_LIBS})
    set(no_loader "NO_LOADER=$<TARGET_FILE:no_loader>")
  endif()
  foreach(driver ${KIMBERLITE_DRIVERS})
    add_test(NAME cli.${driver} COMMAND ${PYTHON3} -m unittest discover -v -s ${CMAKE_CURRENT_LIST_DIR} -p "*_test.py")
    set_tests_properties(cli.${driver} PROPERTIES LABELS model TIMEOUT 3600 PROCESSORS 2)
    set_property(TEST cli.${driver} PROPERTY ENVIRONMENT
      "KIMBERLITE=$<TARGET_FILE:kimberlite>" "MAKE_MODEL=$<TARGET_FILE:kimberlite-make-model>"
      "README_EXAMPLE=$<TARGET_FILE:readme_example>" PYTHONDONTWRITEBYTECODE=1
      ${no_loader}
      "VK_ICD_FILENAMES=${KIMBERLITE_DRIVER_${driver}}"
      "XDG_CACHE_HOME=${CMAKE_CURRENT_BINARY_DIR}/cli-cache-${driver}")
  endforeach()
endif()
