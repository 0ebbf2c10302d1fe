"""One sentence spoken by an engine: mono samples, or why there are none."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ds2edge.audio import FloatArray
from ds2edge.audio_check import FAINT_LEVEL
from ds2edge.audio_file import read_audio
from ds2edge.errors import AudioError
from ds2edge.text import english_characters, unaccented
from ds2edge.training.synthesis.engines import Espeak, Voice

SAMPLE_RATE = 16_000  # Hz, of what is written
TIME_LIMIT = 60.0  # seconds that an engine has for a sentence


class NotSpokenError(Exception):
    """An engine gave no speech for a sentence; the message says why, `detail` what it printed."""

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(why)
        self.detail = detail


def speak(voice: Voice, text: str, pitch: float, rate: float) -> FloatArray:
    """Samples at `SAMPLE_RATE`, in -1..1; shape = (n,).

    Args:
        text: goes to the engine in a file.
        pitch: times the voice's own; where the engine does not shift it, formants move along.
        rate: times the voice's own.

    Raises:
        NotSpokenError: the engine failed or took too long, or its audio is empty or silent.
    """
    engine = voice.engine
    played = 1.0 if engine.shifts_pitch else pitch  # so many times as fast as it was spoken
    if not isinstance(engine, Espeak):  # it alone knows letters with accents
        text = unaccented(text, english_characters())
    with tempfile.TemporaryDirectory(prefix="ds2edge-") as folder:
        said, wave = Path(folder) / "text.txt", Path(folder) / "speech.wav"
        said.write_text(text + "\n", encoding="utf-8")
        _run([str(part) for part in engine.command(voice, pitch, rate / played, said, wave)])
        try:
            samples = read_audio(wave, round(SAMPLE_RATE / played))
        except AudioError as error:
            raise NotSpokenError(f"{engine.name} wrote no audio", str(error)) from None
    peak = float(np.abs(samples).max())
    if peak < FAINT_LEVEL:
        raise NotSpokenError(f"{engine.name} was silent")
    return samples / max(1.0, peak)


def _run(command: list[str]) -> None:
    # A file for what it prints: unlike a pipe, it is not waited for when the engine is killed.
    with tempfile.TemporaryFile() as printed:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            why = f"{command[0]} took more than {TIME_LIMIT:g} s"
            raise NotSpokenError(why) from None
        except OSError as error:
            raise NotSpokenError(f"{command[0]} cannot be started", str(error)) from None
        if done.returncode:
            printed.seek(0)
            last = printed.read()[-300:].decode(errors="replace").strip()
            raise NotSpokenError(f"{command[0]} failed (exit code {done.returncode})", last)
