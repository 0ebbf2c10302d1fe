# plant FILE RIGHT WRONG, in the copy of the source in $folder/source, where FILE has RIGHT once;
# sourced by the scripts that plant faults.
plant() {
  python3 - "$folder/source/$1" "$2" "$3" <<'PYTHON'
import sys
path, right, wrong = sys.argv[1:]
text = open(path, encoding="utf-8").read()
if text.count(right) != 1:
    raise SystemExit(f"{path} no longer has exactly one {right!r}")
open(path, "w", encoding="utf-8").write(text.replace(right, wrong))
PYTHON
}
