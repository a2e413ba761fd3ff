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
  # cli_tests(NAME DRIVER MODULE[.CLASS]...): one entry. What one driver has shown of files and
  # streams needs no other; a program's start takes one core, so two entries run side by side.
  function(cli_tests name driver)
    add_test(NAME ${name} COMMAND ${PYTHON3} -m unittest -v ${ARGN}
             WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/cli)
    set_tests_properties(${name} PROPERTIES LABELS model TIMEOUT 3600)
    set_property(TEST ${name} PROPERTY ENVIRONMENT
      "KIMBERLITE=$<TARGET_FILE:kimberlite>" "MAKE_MODEL=$<TARGET_FILE:kimberlite-make-model>"
      "README_EXAMPLE=$<TARGET_FILE:readme_example>" PYTHONDONTWRITEBYTECODE=1
      ${no_loader}
      "${KIMBERLITE_DRIVER_${driver}}" "XDG_CACHE_HOME=${CMAKE_CURRENT_BINARY_DIR}/${name}-cache")
  endfunction()
  if(KIMBERLITE_DRIVER_lavapipe)
    cli_tests(cli.lavapipe lavapipe cli_test pebble_test media_test)
    cli_tests(cli.lavapipe.2 lavapipe convert_test doctor_test quantize_test streams_test)
  endif()
  if(KIMBERLITE_DRIVER_swiftshader)
    cli_tests(cli.swiftshader swiftshader cli_test.Run cli_test.Chat cli_test.Measure)
  endif()
endif()
