#!/bin/bash
# planted_races.sh FOLDER PYTHON KENLM_SDIST: plants data races in a copy of the source, one at a
# time; mixed work on many threads, by PYTHON, which has ds2edge, must report each. See
# `make threads-check`.
set -euo pipefail
folder=$1 python=$2 kenlm=$3
tools=${TOOLS:-.venv/tools/bin}
root=$(cd "$(dirname "$0")/../.." && pwd)
longest=60 # seconds for each
# shellcheck source=plant.sh
. "$root/native/tests/plant.sh"

# check DESCRIPTION FILE RIGHT WRONG
check() {
  local log=$folder/log
  plant "$2" "$3" "$4"
  { "$tools/cmake" --build "$folder/build" --target _native -j 2 &&
    "$tools/cmake" --install "$folder/build" --prefix "$folder/site"; } >"$log" 2>&1 ||
    { tail -n 20 "$log"; exit 1; }
  cp "$root/$2" "$folder/source/$2"
  PYTHONPATH=$folder/site TSAN_OPTIONS=halt_on_error=1 bash "$root/native/tests/race_free.sh" \
    "$python" --seconds $longest --jobs 16 >"$log" 2>&1 || true
  if grep -q 'WARNING: ThreadSanitizer: data race' "$log"; then
    echo "found: $1 ($(grep -m 1 -oE 'native/[a-z_]+\.(cc|h):[0-9]+' "$log"))"
  else
    tail -n 20 "$log"
    echo "NOT FOUND in $longest s: $1"
    missed=1
  fi
}

rm -rf "$folder/source" "$folder/site"
mkdir -p "$folder/source" "$folder/site"
cp -r "$root/CMakeLists.txt" "$root/native" "$folder/source/"
# The package as PYTHON has it, to be found before that one; the native module is replaced.
installed=$("$python" -P -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
cp -r "$installed/ds2edge" "$folder/site/"
"$tools/cmake" -S "$folder/source" -B "$folder/build" -DDS2_KENLM_SDIST="$kenlm" \
  -DDS2_SANITIZE=thread -DCMAKE_C_COMPILER="${CC:-cc}" -DCMAKE_CXX_COMPILER="${CXX:-g++}" \
  -DPython_EXECUTABLE="$root/$tools/python" \
  -Dpybind11_DIR="$("$tools/python" -m pybind11 --cmakedir)" >"$folder/log" 2>&1 ||
  { tail -n 20 "$folder/log"; exit 1; }

missed=0
check "a counter in the language model that all share" native/language_model.cc \
  '    return natural(model_.Score(view(state), word, *new (next->memory) State));' \
  '    static size_t asked = 0;
    ++asked;
    return natural(model_.Score(view(state), word, *new (next->memory) State));'
check "working space that all streams share" native/results.cc \
  '  std::vector<Step> steps;
  int32_t moment' \
  '  static std::vector<Step> steps;
  steps.clear();
  int32_t moment'
check "a state that lets a second thread in" native/bindings.cc \
  'if (owner_->busy_.exchange(true)) {' 'if (owner_->busy_.exchange(true) && !owner_) {'
exit $missed
