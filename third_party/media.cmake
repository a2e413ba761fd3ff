# What src/media decodes with. Each library is optional, and the program says by name what it cannot
# read. The target kimberlite_media_libraries has those that were found, and for each a definition
# KIMBERLITE_NAME that is 1 or 0.

add_library(kimberlite_media_libraries INTERFACE)

# kimberlite_media_library(NAME FOR what it brings PACKAGE of Debian HEADER file LIBRARIES names
# SUFFIXES folders of the header)
function(kimberlite_media_library name)
  cmake_parse_arguments(MEDIA "" "FOR;PACKAGE;HEADER" "LIBRARIES;SUFFIXES" ${ARGN})
  find_path(${name}_INCLUDE_DIR ${MEDIA_HEADER} PATH_SUFFIXES ${MEDIA_SUFFIXES})
  set(missing "")
  if(NOT ${name}_INCLUDE_DIR)
    set(missing ${MEDIA_HEADER})
  endif()
  foreach(library ${MEDIA_LIBRARIES})
    find_library(${name}_${library}_LIBRARY NAMES ${library} lib${library})
    if(NOT ${name}_${library}_LIBRARY)
      list(APPEND missing ${library})
    endif()
  endforeach()
  if(missing)
    # A cross build has few libraries; that is no surprise.
    set(level WARNING)
    if(CMAKE_CROSSCOMPILING)
      set(level STATUS)
    endif()
    list(JOIN missing ", " missing)
    message(${level} "This build has no ${MEDIA_FOR}: not found: ${missing} (${MEDIA_PACKAGE})")
    target_compile_definitions(kimberlite_media_libraries INTERFACE KIMBERLITE_${name}=0)
    return()
  endif()
  target_include_directories(kimberlite_media_libraries SYSTEM INTERFACE ${${name}_INCLUDE_DIR})
  foreach(library ${MEDIA_LIBRARIES})
    target_link_libraries(kimberlite_media_libraries INTERFACE ${${name}_${library}_LIBRARY})
  endforeach()
  target_compile_definitions(kimberlite_media_libraries INTERFACE KIMBERLITE_${name}=1)
endfunction()

kimberlite_media_library(PNG FOR "PNG pictures" PACKAGE libpng-dev HEADER png.h LIBRARIES png16)
kimberlite_media_library(JPEG FOR "JPEG pictures" PACKAGE libjpeg-dev HEADER jpeglib.h LIBRARIES jpeg)
kimberlite_media_library(WEBP FOR "WebP pictures" PACKAGE libwebp-dev HEADER webp/demux.h
                         LIBRARIES webpdemux webp)
kimberlite_media_library(STB FOR "BMP and GIF pictures" PACKAGE libstb-dev HEADER stb_image.h
                         SUFFIXES stb)
kimberlite_media_library(SNDFILE FOR "sounds" PACKAGE libsndfile1-dev HEADER sndfile.h
                         LIBRARIES sndfile)
kimberlite_media_library(SAMPLERATE FOR "sounds of other rates than 16 kHz"
                         PACKAGE libsamplerate0-dev HEADER samplerate.h LIBRARIES samplerate)
