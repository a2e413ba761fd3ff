# The shaders of tests/vk: each NAME.comp becomes vk_test/NAME.inc, a list of SPIR-V words.

file(GLOB vk_test_shaders CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.comp)
set(vk_test_dir ${CMAKE_CURRENT_BINARY_DIR}/vk_test_shaders)
file(MAKE_DIRECTORY ${vk_test_dir}/vk_test)
set(vk_test_words "")
foreach(shader ${vk_test_shaders})
  cmake_path(GET shader STEM stem)
  set(words ${vk_test_dir}/vk_test/${stem}.inc)
  add_custom_command(
    OUTPUT ${words}
    COMMAND ${GLSLC} --target-env=vulkan1.3 -O -Werror -mfmt=num -o ${words} ${shader}
    DEPENDS ${shader}
    COMMENT "SPIR-V ${stem} (test)"
    VERBATIM)
  list(APPEND vk_test_words ${words})
endforeach()
add_custom_target(vk_test_words DEPENDS ${vk_test_words})
add_library(vk_test_shaders INTERFACE)
target_include_directories(vk_test_shaders INTERFACE ${vk_test_dir})
add_dependencies(vk_test_shaders vk_test_words)
