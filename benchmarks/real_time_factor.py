"""Seconds of compute for a second of audio, one thread, audio in and text out, by stage."""

from __future__ import annotations

import math

from common import print_table, recordings  # first: it pins threads

from ds2edge import Transcriber
from ds2edge.measure import measure_speed, read_recordings, seconds_of

AIM = 0.010


def main() -> None:
    audio = read_recordings(recordings(__doc__ or ""), math.inf)
    transcriber = Transcriber()
    speed = measure_speed(transcriber, audio)
    whole = speed.real_time_factor
    rows = [
        [stage.replace("_", " "), f"{part:.5f}", f"{100 * part / whole:.0f} %", ""]
        for stage, part in speed.stages.items()
    ]
    rows.append(["end to end", f"{whole:.5f}", "", f"{AIM:.3f} (x {whole / AIM:.2f})"])
    runtime = transcriber.info()["runtime"]
    print(f"{len(audio)} recordings, {seconds_of(audio):.0f} s of audio, {runtime}\n")
    print_table(["stage", "real-time factor", "share", "aim"], rows)


if __name__ == "__main__":
    main()
