"""Seconds of compute for a second of audio, one thread, audio in and text out, by stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from common import print_table, recordings  # first: it pins threads

from ds2edge import Transcriber
from ds2edge.acoustic import LiteRT
from ds2edge.audio import SampleInput, read_audio
from ds2edge.decoder import DecoderState
from ds2edge.features import FeatureExtractor

AIM = 0.010
STAGES = {
    "resampling, checks": [(SampleInput, "convert"), (SampleInput, "finish")],
    "features": [(FeatureExtractor, "push"), (FeatureExtractor, "finish")],
    "acoustic model": [(LiteRT, "step"), (LiteRT, "flush")],
    "decoder": [(DecoderState, name) for name in ("advance", "commit", "words", "finish")],
}


def main() -> None:
    files = recordings(__doc__ or "")
    transcriber = Transcriber()
    rate = transcriber.bundle.manifest.features.sample_rate
    audio = [read_audio(path, rate) for path in files]
    seconds = sum(map(len, audio)) / rate

    def everything() -> float:
        began = time.perf_counter()
        for samples in audio:
            transcriber.transcribe(samples, rate)
        return time.perf_counter() - began

    everything()
    best = min(everything() for _ in range(3))
    spent = measure_stages(everything)
    total = spent.pop("all")
    rows = [
        [stage, f"{used / seconds:.5f}", f"{100 * used / total:.0f} %", ""]
        for stage, used in spent.items()
    ]
    rest = total - spent.total()
    rows.append(["everything else", f"{rest / seconds:.5f}", f"{100 * rest / total:.0f} %", ""])
    whole = best / seconds
    rows.append(["end to end", f"{whole:.5f}", "", f"{AIM:.3f} (x {whole / AIM:.2f})"])
    print(f"{len(files)} recordings, {seconds:.0f} s of audio, {transcriber.info()['runtime']}\n")
    print_table(["stage", "real-time factor", "share", "aim"], rows)


def measure_stages(run: Callable[[], float]) -> Counter[str]:
    """Time inside each stage's calls during one run, and of all of it."""
    spent: Counter[str] = Counter()
    originals = []
    for stage, methods in STAGES.items():
        for owner, name in methods:
            original = getattr(owner, name)
            originals.append((owner, name, original))
            setattr(owner, name, timed(original, stage, spent))
    spent["all"] = run()
    for owner, name, original in originals:
        setattr(owner, name, original)
    return spent


def timed(function: Callable[..., Any], stage: str, spent: Counter[str]) -> Callable[..., Any]:
    """`function`, with its time added to a stage."""

    def wrapper(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[stage] += time.perf_counter() - began  # type: ignore[assignment]

    return wrapper


if __name__ == "__main__":
    main()
