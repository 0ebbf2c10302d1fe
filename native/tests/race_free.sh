#!/bin/bash
# race_free.sh PYTHON ARGUMENTS: tests/mixed_work.py with PYTHON, whose ds2edge has a native module
# that was built with ThreadSanitizer by $CXX. Fails if a race is reported or a result is wrong.
set -euo pipefail
python=$1
shift
mixed_work=$(cd "$(dirname "$0")/../.." && pwd)/tests/mixed_work.py
runtime=$("${CXX:-g++}" -print-file-name=libtsan.so)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

module=$(LD_PRELOAD=$runtime "$python" -P -c 'from ds2edge import _native; print(_native.__file__)')
grep -q __tsan_func_entry "$module" ||
  { echo "$module is not built with ThreadSanitizer: nothing would be found" >&2; exit 1; }

# Nothing is suppressed: NumPy, LiteRT and CPython are not instrumented, but their locks are seen.
# The reports go to files, as standard error is captured while a bundle is loaded.
status=0
TSAN_OPTIONS="${TSAN_OPTIONS:-} log_path=$folder/reports" LD_PRELOAD=$runtime \
  "$python" "$mixed_work" "$@" || status=$?
touch "$folder/reports.none"
cat "$folder"/reports.* >&2
echo "races reported: $(cat "$folder"/reports.* | grep -c '^WARNING: ThreadSanitizer')"
exit $status
