"""Hours of audio aligned in a minute of compute on one core, and the memory that it takes.

Beside ctc-segmentation, whose table is filled in Cython, on the same log-probabilities, in windows
of its default size and of a quarter of it, which is faster. Recordings of the lengths asked for are
made of the utterances of a manifest, one after the other, over and over.

Needs ctc-segmentation.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from common import print_table  # first: it pins threads

from ds2edge.arguments import CommandParser
from ds2edge.audio_file import read_audio
from ds2edge.errors import Ds2edgeError
from ds2edge.text import normalise
from ds2edge.training.construction.forced_alignment import align, spell
from ds2edge.training.construction.hearing import Heard, hear
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation.listener import open_listener

RATE = 16_000
EXACT = 0.5  # s that the begin of an utterance may be off
PATIENCE = 900.0  # s that a peer gets for one recording

EPILOG = """examples:
  python benchmarks/alignment_speed.py speech/librispeech/manifest.tsv --split dev
  python benchmarks/alignment_speed.py speech/librispeech/manifest.tsv --minutes 8 60 180
"""


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(WORKERS[sys.argv[2]](Path(sys.argv[3]))))
        return
    parser = CommandParser("alignment_speed.py", description=__doc__, epilog=EPILOG)
    parser.add_argument("manifest", type=Path, help="manifest.tsv of recordings")
    parser.add_argument("--split", default="dev", help="of it [%(default)s]")
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[8, 60, 180], metavar="M", help="[8 60 180]"
    )
    given = parser.parse_args()
    rows = []
    with TemporaryDirectory() as folder:
        for minutes in given.minutes:
            work = Path(folder)
            make(given.manifest, given.split, minutes, work)
            listening = worked("listen", work)
            rows.append(row(minutes, "listening, before either", listening))
            for name in ("ours", "ctc-segmentation 8000", "ctc-segmentation 2000"):
                rows.append(row(minutes, name, worked(name, work)))
    header = ["minutes", "what", "seconds", "hours in a minute", "memory MB", "begins right %"]
    print_table(header, rows)


def make(manifest: Path, split: str, minutes: float, work: Path) -> None:
    """The recording, its text, and where each utterance begins."""
    utterances = read_manifest(manifest, split)
    lines, begins, at = [], [], 0.0
    with soundfile.SoundFile(work / "long.flac", "w", RATE, 1) as file:
        for utterance in cycle(utterances):
            samples = read_audio(utterance.path, RATE)
            file.write(samples)
            lines.append(utterance.text)
            begins.append(at)
            at += len(samples) / RATE
            if at >= 60 * minutes:
                break
    tokens = open_listener("en").tokens
    told = {"lines": [normalise(line, tokens).split() for line in lines], "begins": begins}
    (work / "told.json").write_text(json.dumps(told))


def worked(name: str, work: Path) -> dict[str, float] | str:
    """A worker in a process of its own; what it took, or why it failed."""
    command = [sys.executable, __file__, "--worker", name, str(work)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=work
        )
    except subprocess.TimeoutExpired:
        return f"not done in {PATIENCE:.0f} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        return f"failed: {last[:60]}"
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(minutes: float, name: str, found: dict[str, float] | str) -> list[str]:
    if isinstance(found, str):
        return [f"{minutes:g}", name, found, "", "", ""]
    right = f"{100 * found['right']:.1f}" if "right" in found else ""
    per_minute = minutes / found["seconds"]
    memory = f"{found['memory']:.0f}"
    return [f"{minutes:g}", name, f"{found['seconds']:.2f}", f"{per_minute:.1f}", memory, right]


def listen(work: Path) -> dict[str, float]:
    """Log-probabilities, which all aligners get; and ours with them, whose memory counts."""
    listener = open_listener("en")
    text = spell(json.loads((work / "told.json").read_text())["lines"], listener.tokens)
    begin = time.process_time()
    heard = hear(work / "long.flac", "en", text.columns, work)
    seconds = time.process_time() - begin
    np.save(work / "scores.npy", heard.scores)
    np.save(work / "loud.npy", heard.loud)
    memory = peak()
    return {"seconds": seconds, "memory": memory}


def ours(work: Path) -> dict[str, float]:
    told, listener = json.loads((work / "told.json").read_text()), open_listener("en")
    scores = np.load(work / "scores.npy", mmap_mode="r")
    text = spell(told["lines"], listener.tokens)
    begin = time.process_time()
    found = align(Heard(scores, np.load(work / "loud.npy")), text, listener.step, listener.delay)
    seconds = time.process_time() - begin
    starts: dict[int, float] = {}
    for word in found.words:
        if word.found:
            starts.setdefault(word.line, word.start)
    begins = [starts.get(line, -1.0) for line in range(len(told["lines"]))]
    return {"seconds": seconds, "memory": peak(), "right": right(begins, told["begins"])}


def peer(window: int) -> Callable[[Path], dict[str, float]]:
    """ctc-segmentation with windows of so many outputs."""

    def work_in(work: Path) -> dict[str, float]:
        from ctc_segmentation import (
            CtcSegmentationParameters,
            ctc_segmentation,
            determine_utterance_segments,
            prepare_text,
        )

        told, listener = json.loads((work / "told.json").read_text()), open_listener("en")
        texts = [" ".join(line) for line in told["lines"]]
        characters = ["_", *listener.tokens.tokens[1:]]
        scores = np.load(work / "scores.npy")
        text = spell(told["lines"], listener.tokens)
        log_probs = np.full((len(scores), len(characters)), -100.0, np.float32)
        log_probs[:, list(text.columns)] = scores[:, : len(text.columns)]
        config = CtcSegmentationParameters(
            char_list=characters,
            index_duration=listener.step,
            min_window_size=window,
            max_window_size=window + 1,
        )
        begin = time.process_time()
        matrix, starts = prepare_text(config, texts)
        timings, chances, _ = ctc_segmentation(config, log_probs, matrix)
        spans = determine_utterance_segments(config, starts, chances, timings, texts)
        seconds = time.process_time() - begin
        begins = [span[0] - listener.delay for span in spans]
        return {"seconds": seconds, "memory": peak(), "right": right(begins, told["begins"])}

    return work_in


def right(found: Sequence[float], begins: Sequence[float]) -> float:
    """Share of utterances that are found where they begin: their silence first, then the word."""
    after = np.array(found) - np.array(begins)
    return float(np.mean((after > -EXACT) & (after < 1.0 + EXACT)))


def peak() -> float:
    """The most memory that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


WORKERS: dict[str, Callable[[Path], dict[str, float]]] = {
    "listen": listen,
    "ours": ours,
    "ctc-segmentation 8000": peer(8000),
    "ctc-segmentation 2000": peer(2000),
}


if __name__ == "__main__":
    try:
        main()
    except (Ds2edgeError, ModuleNotFoundError) as error:
        sys.exit(f"alignment_speed.py: {error}")
