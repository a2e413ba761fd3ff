# Checks of the repository itself; they need python3 and nothing else.
find_program(PYTHON3 python3)
if(PYTHON3)
  set(checks layers sizes catalogue tree prebuilt)
  foreach(check IN LISTS checks)
    add_test(NAME house.${check}
             COMMAND ${PYTHON3} ${CMAKE_CURRENT_LIST_DIR}/check_${check}.py ${PROJECT_SOURCE_DIR})
  endforeach()
  add_test(NAME house.self_test COMMAND ${PYTHON3} ${CMAKE_CURRENT_LIST_DIR}/self_test.py)
  list(TRANSFORM checks PREPEND house. OUTPUT_VARIABLE tests)
  set_tests_properties(${tests} house.self_test PROPERTIES
                       LABELS cpu ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endif()

# The Windows build and the cpu tier under Wine; skipped where the cross compiler is missing.
add_test(NAME house.mingw COMMAND ${PROJECT_SOURCE_DIR}/tools/mingw.sh)
set_tests_properties(house.mingw PROPERTIES LABELS cross TIMEOUT 3600 SKIP_RETURN_CODE 77
                     PROCESSORS 2)

# The installed folder is whole and can be moved.
if(TARGET kimberlite)
  add_test(NAME house.install
           COMMAND ${CMAKE_COMMAND} -DBUILD=${PROJECT_BINARY_DIR}
                   -P ${CMAKE_CURRENT_LIST_DIR}/install_test.cmake)
  set_tests_properties(house.install PROPERTIES LABELS cpu)
endif()

# The slow tier: whole workflows of CMakePresets.json, each in a build folder of its own.
if(KIMBERLITE_SLOW)
  foreach(preset fuzz dev)
    add_test(NAME slow.${preset} COMMAND ${CMAKE_COMMAND} --workflow --preset ${preset}
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(slow.${preset} PROPERTIES LABELS slow TIMEOUT 5400 PROCESSORS 2)
  endforeach()
endif()
