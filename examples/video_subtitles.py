"""Subtitles for a video: ffmpeg decodes its sound into a pipe, and an .srt file is written.

sudo apt-get install ffmpeg
python examples/video_subtitles.py holiday.mp4     writes holiday.srt beside it
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ds2edge import Ds2edgeError, Final, Transcriber
from ds2edge.subtitles import to_srt

RATE = 16_000  # Hz


def sound(video: Path) -> Iterator[np.ndarray]:
    """The samples of a video's sound, a second at a time; shape of each = (n,)."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", f"file:{video}", "-vn"]
    # Sound that begins after the picture: silence before it, or the subtitles came too early.
    command += ["-af", "aresample=async=1:first_pts=0"]
    command += ["-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"]
    # What ffmpeg complains of goes to a file: a pipe that nobody reads would fill and stop it.
    with tempfile.TemporaryFile() as complaints:
        ffmpeg = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints)
        try:
            while block := ffmpeg.stdout.read(2 * RATE):
                yield np.frombuffer(block, "<i2")
            if ffmpeg.wait():
                complaints.seek(0)
                why = complaints.read().decode(errors="replace").strip().split("\n")[-1]
                raise SystemExit(f"video_subtitles: ffmpeg failed: {why}")
        finally:  # also after Ctrl-C
            ffmpeg.kill()
            ffmpeg.communicate()


def show_progress(blocks: Iterator[np.ndarray], video: Path) -> Iterator[np.ndarray]:
    """Pass the blocks on, and write how much of the video is done."""
    command = ["ffprobe", "-v", "quiet", "-show_entries", "format=duration", "-of", "csv=p=0"]
    told = subprocess.run([*command, f"file:{video}"], capture_output=True, text=True).stdout
    whole, done = float(told) if told[:1].isdigit() else float("inf"), 0.0  # not all files tell
    for block in blocks:
        yield block
        done += len(block) / RATE
        print(f"\r{min(1, done / whole):4.0%} ", end="", file=sys.stderr, flush=True)
    print("\r     \r", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="[beside the video]")
    arguments = parser.parse_args()
    video, output = arguments.video, arguments.output or arguments.video.with_suffix(".srt")
    if not video.is_file():
        raise SystemExit(f"video_subtitles: there is no file {video}")
    if not shutil.which("ffmpeg"):
        raise SystemExit("video_subtitles: needs ffmpeg; on Debian: sudo apt-get install ffmpeg")
    if output.exists() and not arguments.output:
        raise SystemExit(f"video_subtitles: {output} is there already; -o {output} replaces it")

    with contextlib.closing(sound(video)) as blocks:
        heard = show_progress(blocks, video) if sys.stderr.isatty() else blocks
        events = Transcriber().events(heard, sample_rate=RATE)
        finals = [event for event in events if isinstance(event, Final)]
    output.write_text(to_srt(finals), encoding="utf-8")
    print(output)


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, OSError) as error:
        raise SystemExit(f"video_subtitles: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
