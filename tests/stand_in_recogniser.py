"""Stands in for the recogniser, and "hears" the options that it was given; files are read for real.

It also stands in processes that a command starts, which import it by name.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ds2edge.errors import ConfigError
from ds2edge.results import Final, Word

DEADLY_RATE = 11_111  # Hz, of a recording that kills whoever hears it


@dataclass(frozen=True)
class FakeOptions:
    beam: int = field(default=32, metadata={"help": "hypotheses kept, 100% of them"})
    alpha: float | None = field(default=None, metadata={"help": "weight of the language model"})
    language_model: bool = field(default=True, metadata={"help": "use the language model"})

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise ConfigError(f"beam must be at least 1, got {self.beam}")


class FakeTranscriber:
    def __init__(self, bundle: object = "en") -> None:
        pass

    def decoder(self, options: FakeOptions) -> None:
        pass

    def events(
        self, blocks: Iterable[Any], sample_rate: float, options: FakeOptions
    ) -> Iterator[Final]:
        seconds = 0.0
        for block in blocks:
            if sample_rate == DEADLY_RATE:
                os.kill(os.getpid(), signal.SIGKILL)
            seconds += len(block) / sample_rate
            time.sleep(float(os.environ.get("FAKE_DELAY", "0")))  # for a second of audio
        text = f"{options.beam} {options.alpha} {options.language_model}"
        words = tuple(Word(word, 0.5, 1.0, 0.75) for word in text.split())
        yield Final(0, words, 0.0, seconds)

    def info(self) -> dict[str, Any]:
        return {"bundle": "en", "sample_rate": 16_000, "accuracy": {"test": {"wer": 0.25}}}


PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import stand_in_recogniser
from ds2edge import cli
from ds2edge.commands import transcribe
transcribe.Transcriber = stand_in_recogniser.FakeTranscriber
transcribe.StreamOptions = stand_in_recogniser.FakeOptions
sys.exit(cli.main())
"""
COMMAND = [sys.executable, "-P", "-c", PROGRAM]  # -P: the installed ds2edge
