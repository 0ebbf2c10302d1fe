# Target ds2_kenlm: KenLM's query code, static, position-independent, all symbols hidden.
#
# The sources come from KenLM's source distribution on PyPI, through pip; none are kept here.
# To build offline, or for a distribution:
#   -DDS2_KENLM_SOURCE_DIR=<folder of the unpacked source>   or   -DDS2_KENLM_SDIST=<kenlm-0.3.0.tar.gz>
set(DS2_KENLM_VERSION 0.3.0)
set(DS2_KENLM_SHA256 c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8)
set(DS2_KENLM_MAX_ORDER 6 CACHE STRING "Largest n-gram order that can be loaded")
set(DS2_KENLM_SOURCE_DIR "" CACHE PATH "Folder of the unpacked KenLM source")
set(DS2_KENLM_SDIST "" CACHE FILEPATH "KenLM's source distribution, already downloaded")

function(ds2_download_kenlm folder)
  # "--no-binary kenlm", never ":all:": that would make pip compile CMake itself, which pip needs
  # to prepare kenlm's metadata.
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -m pip download --disable-pip-version-check --no-deps
            --no-build-isolation --no-binary kenlm "kenlm==${DS2_KENLM_VERSION}" -d "${folder}"
    RESULT_VARIABLE status OUTPUT_VARIABLE log ERROR_VARIABLE log)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "pip could not download the source of kenlm ${DS2_KENLM_VERSION}; "
      "give -DDS2_KENLM_SDIST= or -DDS2_KENLM_SOURCE_DIR=\n${log}")
  endif()
endfunction()

if(NOT DS2_KENLM_SOURCE_DIR)
  set(_folder "${CMAKE_BINARY_DIR}/kenlm")
  set(_archive "${DS2_KENLM_SDIST}")
  if(NOT _archive)
    set(_archive "${_folder}/kenlm-${DS2_KENLM_VERSION}.tar.gz")
    if(NOT EXISTS "${_archive}")
      ds2_download_kenlm("${_folder}")
    endif()
  endif()
  file(SHA256 "${_archive}" _sha256)
  if(NOT _sha256 STREQUAL DS2_KENLM_SHA256)
    message(FATAL_ERROR "${_archive} has SHA-256 ${_sha256}, expected ${DS2_KENLM_SHA256}")
  endif()
  set(DS2_KENLM_SOURCE_DIR "${_folder}/kenlm-${DS2_KENLM_VERSION}")
  if(NOT EXISTS "${DS2_KENLM_SOURCE_DIR}/lm/model.hh")
    file(ARCHIVE_EXTRACT INPUT "${_archive}" DESTINATION "${_folder}")
  endif()
endif()

file(GLOB _kenlm_sources
  "${DS2_KENLM_SOURCE_DIR}/lm/*.cc"
  "${DS2_KENLM_SOURCE_DIR}/util/*.cc"
  "${DS2_KENLM_SOURCE_DIR}/util/double-conversion/*.cc")
list(FILTER _kenlm_sources EXCLUDE REGEX "(main|test|/float_to_string)\\.cc$")
add_library(ds2_kenlm STATIC ${_kenlm_sources} "${CMAKE_CURRENT_LIST_DIR}/kenlm_float_to_string.cc")
target_include_directories(ds2_kenlm SYSTEM PUBLIC "${DS2_KENLM_SOURCE_DIR}")
# The order is part of the layout of lm::ngram::State, so it must be the same everywhere.
target_compile_definitions(ds2_kenlm PUBLIC KENLM_MAX_ORDER=${DS2_KENLM_MAX_ORDER})
# KenLM puts the names of its source files into messages: not with the builder's folders.
target_compile_options(ds2_kenlm PUBLIC
  $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-ffile-prefix-map=${DS2_KENLM_SOURCE_DIR}/=>)
target_compile_options(ds2_kenlm PRIVATE $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-w>)
set_target_properties(ds2_kenlm PROPERTIES POSITION_INDEPENDENT_CODE ON
  CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
if(UNIX AND NOT APPLE)
  target_link_libraries(ds2_kenlm PRIVATE rt)
endif()
