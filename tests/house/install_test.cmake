# Installs BUILD into a folder, moves the folder, and starts the program there.
set(first ${BUILD}/install-test/first)
set(moved ${BUILD}/install-test/moved)
file(REMOVE_RECURSE ${BUILD}/install-test)
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${first}
                OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${first} ${moved})
foreach(entry bin/kimberlite include/kimberlite LICENSE README.md)
  if(NOT EXISTS ${moved}/${entry})
    message(FATAL_ERROR "the installed folder has no ${entry}")
  endif()
endforeach()
execute_process(COMMAND ${moved}/bin/kimberlite --help OUTPUT_VARIABLE help
                COMMAND_ERROR_IS_FATAL ANY)
if(help STREQUAL "")
  message(FATAL_ERROR "bin/kimberlite --help printed nothing")
endif()
file(REMOVE_RECURSE ${BUILD}/install-test)
