"""Speech engines for tests: a program that answers to the names of all, and writes a tone.

What it was told is noted in `calls.jsonl` beside it; some words make it misbehave.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

NAMES = ("flite", "espeak-ng", "text2wave", "festival")
HERTZ, SECONDS_PER_LETTER, SAMPLE_RATE = 200, 0.06, 16_000

PROGRAM = """#!{python} -IS
import array, json, math, os, sys, time, wave

name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
if arguments == ["-lv"]:
    print("Voices available: kal awb_time slt ")
elif arguments[0].startswith("--voices="):
    rows = dict(en=["gmw/en-US", "mb/mb-us1", "!v/Storm            (en-us 5)"],
                variant=["!v/f2", "!v/Mr serious        "], cmn=["sit/cmn"])
    print("Pty Language       Age/Gender VoiceName          File                 Other Languages")
    for row in rows.get(arguments[0].split("=")[1], []):
        print(" 5  en-us           --/M      Some_(Name)        " + row)
elif name == "festival":
    print("voice kal_diphone")
else:
    given = dict(zip(arguments[::2], arguments[1::2]))
    path = given.get("-f") or arguments[-1]
    text = open(path, encoding="utf-8").read().rstrip("\\n")
    output = given.get("-o") or given["-w"]
    with open(os.path.join(os.path.dirname(sys.argv[0]), "calls.jsonl"), "a") as calls:
        calls.write(json.dumps([name, arguments, text]) + "\\n")
    if "fails" in text:
        sys.exit("no such sound")
    if "hangs" in text:
        time.sleep(60)
    if "nothing" in text:
        sys.exit()
    stretch = [a for a in arguments if "tretch" in a]
    rate = float(given.get("-s", 175)) / 175
    if stretch:
        rate = 1 / float(stretch[0].replace("=", " ").rstrip(")").split()[-1])
    count = 0 if "empty" in text else int({rate} * {letter} * len(text) / rate)
    level = 0 if "silent" in text else 9000
    tone = array.array("h", (int(level * math.sin(2 * math.pi * {hertz} * i / {rate}))
                             for i in range(count)))
    with wave.open(output, "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate({rate})
        file.writeframes(tone.tobytes())
"""


class StandIns:
    """Engines in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls_file = folder / "calls.jsonl"
        folder.mkdir()
        for name in NAMES:
            program = folder / name
            program.write_text(
                PROGRAM.format(
                    python=sys.executable,
                    rate=SAMPLE_RATE,
                    letter=SECONDS_PER_LETTER,
                    hertz=HERTZ,
                ),
                encoding="utf-8",
            )
            program.chmod(0o755)

    def remove(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()

    def calls(self) -> list[tuple[str, list[str], str]]:
        """Program, arguments and text of each sentence since the last time."""
        if not self.calls_file.exists():
            return []
        lines = self.calls_file.read_text(encoding="utf-8").splitlines()
        self.calls_file.unlink()
        return [tuple(json.loads(line)) for line in lines]
