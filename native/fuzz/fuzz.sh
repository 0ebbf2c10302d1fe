#!/bin/bash
# fuzz.sh FOLDER SECONDS: runs each fuzzer of a build that long, then says how much of native/*.cc
# all inputs found so far reach. Inputs are kept in FOLDER/corpus, what fails in FOLDER/failures.
set -euo pipefail
folder=$1 duration=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
export UBSAN_OPTIONS=print_stacktrace=1
mkdir -p "$folder/failures" "$folder/corpus/"{language_model,lexicon,search} "$folder/profile"

failed=()
for name in language_model lexicon search; do
  if [ $name = language_model ]; then
    cp -n "$root"/tests/data/kenlm/small.* "$root/tests/data/tiny.arpa" "$folder/corpus/$name/"
    rm -f "$folder/corpus/$name/small.txt"
  fi
  log=$folder/fuzz_$name.log
  if LLVM_PROFILE_FILE=/dev/null "$folder/native/fuzz/fuzz_$name" -max_total_time="$duration" \
    -timeout=20 -rss_limit_mb=2500 -max_len=2048 -print_final_stats=1 \
    -artifact_prefix="$folder/failures/$name-" "$folder/corpus/$name" >"$log" 2>&1; then
    verdict="no failure"
  else
    verdict="FAILED: the end of $log tells why"
    failed+=("$name")
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  printf 'fuzz_%-15s %10s inputs, %6s a second, %s\n' "$name" "$runs" "$speed" "$verdict"
  LLVM_PROFILE_FILE="$folder/profile/$name.profraw" \
    "$folder/native/fuzz/fuzz_$name" -runs=0 "$folder/corpus/$name" >>"$log" 2>&1 || true
done

llvm-profdata merge -o "$folder/profile/all" "$folder"/profile/*.profraw
llvm-cov report "$folder/native/fuzz/fuzz_search" \
  -object "$folder/native/fuzz/fuzz_lexicon" -object "$folder/native/fuzz/fuzz_language_model" \
  -instr-profile="$folder/profile/all" "$root"/native/*.cc "$root"/native/*.h |
  awk 'BEGIN { printf "%-24s %8s %8s\n", "reached by all inputs", "lines", "branches" }
       /\.(cc|h) |^TOTAL/ { printf "%-24s %8s %8s\n", $1, $10, $13 }'
[ ${#failed[@]} -eq 0 ]
