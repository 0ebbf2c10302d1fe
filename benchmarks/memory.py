"""Resident memory of a process that transcribes with the language model (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

from common import print_table, recordings  # first: it pins threads

AIM = 120.0  # MB
HOURS = 0.5  # of audio through one stream


def main() -> None:
    files = recordings(__doc__ or "")
    rows = [["interpreter", *resident()]]
    import numpy as np

    rows.append(["+ numpy", *resident()])
    import ds2edge
    from ds2edge.audio import read_audio

    rows.append(["+ ds2edge", *resident()])
    transcriber = ds2edge.Transcriber()
    rows.append(["+ the English bundle", *resident()])
    for path in files:
        transcriber.transcribe(path)
    now = resident()
    rows.append([f"after {len(files)} recordings", *now])
    samples = np.concatenate([read_audio(path, 16_000) for path in files])
    rounds = max(1, round(HOURS * 3600 * 16_000 / len(samples)))
    with transcriber.stream(16_000) as stream:
        for _ in range(rounds):
            for begin in range(0, len(samples), 16_000):
                stream.feed(samples[begin : begin + 16_000])
        rows.append([f"in a stream of {stream.seconds / 3600:.1f} h", *resident()])
    total = float(rows[-1][1])
    rows.append(["aim", f"{AIM:.0f} (x {total / AIM:.2f})", ""])
    print_table(["moment", "resident MB", "of it shared files"], rows)


def resident() -> tuple[str, str]:
    """Resident memory, and the part that is mapped from files and shared, in MB."""
    pages = [int(value) for value in Path("/proc/self/statm").read_text().split()]
    unit = os.sysconf("SC_PAGE_SIZE") / 1e6
    return f"{pages[1] * unit:.1f}", f"{pages[2] * unit:.1f}"


if __name__ == "__main__":
    main()
