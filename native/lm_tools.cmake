# KenLM's own executables, for those who build language models: never part of a wheel.
#   cmake -S . -B build/tools -DDS2_LM_TOOLS=ON && cmake --build build/tools --target lmplz build_binary
# lmplz needs Boost (Debian: libboost-program-options-dev libboost-system-dev libboost-thread-dev).
find_package(Boost REQUIRED CONFIG COMPONENTS program_options system thread)
find_package(Threads REQUIRED)

add_executable(build_binary EXCLUDE_FROM_ALL "${DS2_KENLM_SOURCE_DIR}/lm/build_binary_main.cc")
target_link_libraries(build_binary PRIVATE ds2_kenlm)

file(GLOB _lmplz_sources
  "${DS2_KENLM_SOURCE_DIR}/lm/builder/*.cc"
  "${DS2_KENLM_SOURCE_DIR}/lm/common/*.cc"
  "${DS2_KENLM_SOURCE_DIR}/util/stream/*.cc")
list(FILTER _lmplz_sources EXCLUDE REGEX "(_test|count_ngrams_main|dump_counts_main)\\.cc$")
add_executable(lmplz EXCLUDE_FROM_ALL ${_lmplz_sources})
target_link_libraries(lmplz PRIVATE
  ds2_kenlm Boost::program_options Boost::system Boost::thread Threads::Threads)

foreach(_tool IN ITEMS build_binary lmplz)
  target_compile_options(${_tool} PRIVATE $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-w>)
endforeach()
