#!/bin/bash
# planted.sh FOLDER KENLM_SDIST: plants memory errors in a copy of the source, one at a time; the
# fuzzer named beside each must find it, starting from sound models and nothing. See `make fuzz-check`.
set -euo pipefail
folder=$1 kenlm=$2
tools=${TOOLS:-.venv/tools/bin}
root=$(cd "$(dirname "$0")/../.." && pwd)
longest=300 # seconds for each

# shellcheck source=../tests/plant.sh
. "$root/native/tests/plant.sh"

# check FUZZER DESCRIPTION FILE RIGHT WRONG
check() {
  local fuzzer=$1 log=$folder/$1.log
  plant "$3" "$4" "$5"
  "$tools/cmake" --build "$folder/build" --target "fuzz_$fuzzer" -j 2 >"$log" 2>&1 ||
    { tail -n 20 "$log"; exit 1; }
  cp "$root/$3" "$folder/source/$3"
  if LLVM_PROFILE_FILE=/dev/null "$folder/build/native/fuzz/fuzz_$fuzzer" -timeout=20 \
    -max_total_time=$longest -max_len=4096 -rss_limit_mb=2500 -artifact_prefix="$folder/$fuzzer-" \
    "$folder/corpus/$fuzzer" >"$log" 2>&1; then
    echo "NOT FOUND in $longest s: $2"
    missed=1
  else
    echo "found: $2 ($(grep -m 1 -oE 'Assertion .*|ERROR: .*|runtime error: .*' "$log" | cut -c 1-80))"
  fi
}

mkdir -p "$folder/source/tests" "$folder/corpus"/{language_model,lexicon,search}
cp "$root"/tests/data/kenlm/small.* "$folder/corpus/language_model/"
cp -r "$root/CMakeLists.txt" "$root/native" "$folder/source/"
cp -r "$root/tests/data" "$folder/source/tests/"
"$tools/cmake" -S "$folder/source" -B "$folder/build" -DDS2_FUZZ=ON -DDS2_KENLM_SDIST="$kenlm" \
  -DDS2_SANITIZE=address,undefined -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DPython_EXECUTABLE="$root/$tools/python" \
  -Dpybind11_DIR="$("$tools/python" -m pybind11 --cmakedir)" >"$folder/build.log" 2>&1 ||
  { tail -n 20 "$folder/build.log"; exit 1; }

missed=0
check search "a list of children without its end" native/prefix.cc \
  'while (node != kNoIndex && prefixes_[node].token != token)' \
  'while (prefixes_[node].token != token)'
check lexicon "a token that reaches beyond its word" native/speller.cc \
  'length = std::min(longest_, word.size() - at);' 'length = longest_;'
check language_model "a language model that is not checked" native/language_model.cc \
  '    check_kenlm_file(path);' ''
exit $missed
