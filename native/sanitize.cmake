# With -DDS2_SANITIZE=address,undefined or thread, everything is built under these sanitizers: for
# `make sanitize` and `make fuzz`, never for a wheel.
set(DS2_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=")
if(NOT DS2_SANITIZE)
  return()
endif()

# With assertions, KenLM's and the standard library's, and with names in the reports.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS")
set(CMAKE_STRIP "")  # pybind11 strips what is no debug build
set(CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF)
set(_ds2_sanitize -fsanitize=${DS2_SANITIZE} -fno-sanitize-recover=all)
if(DS2_SANITIZE MATCHES "undefined")
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    list(APPEND _ds2_sanitize -fsanitize-ignorelist=${CMAKE_CURRENT_LIST_DIR}/kenlm_ignore.txt)
  else()  # gcc has no such list: nowhere
    list(APPEND _ds2_sanitize -fno-sanitize=alignment)
  endif()
endif()
add_compile_options(${_ds2_sanitize})
add_link_options(${_ds2_sanitize})
add_compile_definitions(DS2_READ_MODELS)
