"""Free speech engines: which are installed, which voices they have, how they are told to speak.

No engine gets text on its command line, and none is started by a shell: a text cannot become an
option, a command, or, of festival, a Scheme expression.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from ds2edge.errors import ConfigError, DataError, MissingExtraError

LISTING_LIMIT = 20.0  # seconds that an engine has to list its voices
WORDS_PER_MINUTE = 175  # of espeak-ng, unless it is told another rate
# Settings of espeak-ng's pitch, and what they make of the voice's own, as measured.
PITCH_SETTINGS = (0, 20, 40, 50, 60, 80, 99)
PITCHES = (0.71, 0.81, 0.93, 1.0, 1.1, 1.33, 1.63)
ENGLISH_VOICES = """(mapcar
 (lambda (v)
  (if (string-matches (cadr (assoc 'language (cadr (voice.description v)))) ".*english")
      (format t "voice %s\\n" v)))
 (voice.list))"""


@dataclass(frozen=True)
class Voice:
    """Somebody whom an engine can be."""

    engine: Engine
    name: str  # as the engine calls it
    variant: str = ""  # espeak-ng's, of any of its voices

    @property
    def speaker(self) -> str:
        """What manifests call it, and --voices."""
        variant = f"+{self.variant}" if self.variant else ""
        return f"{self.engine.name}-{Path(self.name).name}{variant}".replace(" ", "_")


class Engine(ABC):
    """A program that speaks."""

    name: str  # for --engine
    program: str
    packages: str  # of Debian
    shifts_pitch = False  # by itself; otherwise its audio is played faster or slower

    @abstractmethod
    def voices(self, language: str) -> list[Voice]:
        """Those of a language; none, if it does not speak it.

        Raises:
            DataError: the engine does not answer.
        """

    @abstractmethod
    def command(
        self, voice: Voice, pitch: float, rate: float, text: Path, wave: Path
    ) -> Sequence[object]:
        """How it is told to speak a file of text; pitch and rate are times the voice's own."""

    @property
    def is_installed(self) -> bool:
        return shutil.which(self.program) is not None


class Flite(Engine):
    """Small; English."""

    name = program = packages = "flite"

    def voices(self, language: str) -> list[Voice]:
        if language != "en":
            return []
        names = _listed("flite", "-lv").partition(":")[2].split()
        return [Voice(self, name) for name in names if name != "awb_time"]  # only tells the time

    def command(
        self, voice: Voice, pitch: float, rate: float, text: Path, wave: Path
    ) -> Sequence[object]:
        stretch = f"duration_stretch={1 / rate:.4f}"
        return ("flite", "-voice", voice.name, "--setf", stretch, "-f", text, "-o", wave)


class Espeak(Engine):
    """Synthetic, of many languages, with a hundred variants of each voice."""

    name = program = packages = "espeak-ng"
    shifts_pitch = True

    def voices(self, language: str) -> list[Voice]:
        found = self._files(language)
        # MBROLA's need further programs, and are not for every use.
        names = [name for name in found if not name.startswith(("mb/", "!v/"))]
        variants = [name.removeprefix("!v/") for name in self._files("variant")] if names else []
        return [Voice(self, name, variant) for name in names for variant in ("", *variants)]

    def command(
        self, voice: Voice, pitch: float, rate: float, text: Path, wave: Path
    ) -> Sequence[object]:
        name = f"{voice.name}+{voice.variant}" if voice.variant else voice.name
        setting = round(float(np.interp(pitch, PITCHES, PITCH_SETTINGS)))
        words = round(WORDS_PER_MINUTE * rate)
        utf8 = ("-b", 1)
        return ("espeak-ng", "-v", name, "-p", setting, "-s", words, *utf8, "-f", text, "-w", wave)

    def _files(self, language: str) -> list[str]:
        """The column File of its table, which may have spaces in it."""
        rows = _listed("espeak-ng", f"--voices={language}").splitlines()[1:]
        found = (re.match(r"\s*\d+(?:\s+\S+){3}\s+(\S.*?)\s*(?:\(.*)?$", row) for row in rows)
        return [row[1] for row in found if row]


class Festival(Engine):
    """English here; the voices are packages of their own."""

    name, program, packages = "festival", "text2wave", "festival festvox-kallpc16k"

    def voices(self, language: str) -> list[Voice]:
        if language != "en" or not shutil.which("festival"):
            return []
        listed = _listed("festival", "--batch", ENGLISH_VOICES)
        # Only names that are symbols: they come back as part of an expression.
        return [Voice(self, name) for name in sorted(re.findall(r"^voice (\w+)$", listed, re.M))]

    def command(
        self, voice: Voice, pitch: float, rate: float, text: Path, wave: Path
    ) -> Sequence[object]:
        chosen = ("-eval", f"(voice_{voice.name})")
        stretch = ("-eval", f"(Parameter.set 'Duration_Stretch {1 / rate:.4f})")
        # HTS voices pass over that, and have a setting of their own.
        faster = f'(set! hts_engine_params (cons \'("-r" {rate:.4f}) hts_engine_params))'
        hts = ("-eval", f"(if (symbol-bound? 'hts_engine_params) {faster})")
        return ("text2wave", *chosen, *stretch, *hts, "-o", wave, text)


ENGINES: tuple[Engine, ...] = (Flite(), Espeak(), Festival())
NAMES = [engine.name for engine in ENGINES]


def find_voices(
    asked_for: Sequence[str], language: str, patterns: Sequence[str]
) -> tuple[list[Voice], list[str]]:
    """Voices of the engines that are installed.

    Args:
        asked_for: names of engines; none: all that are installed.
        patterns: as of file names, one of which a voice's `speaker` is to match; none: all voices.

    Returns: the voices, and a line about each engine asked for that does without.

    Raises:
        MissingExtraError: no engine is installed, of those asked for.
        ConfigError: none speaks the language, or a pattern is no voice's.
    """
    wanted = [engine for engine in ENGINES if engine.name in (asked_for or NAMES)]
    missing = [engine for engine in wanted if not engine.is_installed]
    told = [f"{e.name} is not installed: sudo apt-get install {e.packages}" for e in missing]
    if len(missing) == len(wanted):
        raise MissingExtraError("; ".join(told))
    voices: list[Voice] = []
    silent = []
    for engine in wanted:
        if engine not in missing:
            try:
                found = engine.voices(language)
            except DataError as error:
                silent.append(str(error))
                continue
            voices += found
            silent += [] if found else [f"{engine.name} has no voice that speaks {language!r}"]
    if not voices:
        raise ConfigError("; ".join(silent))
    for pattern in patterns:
        if not any(fnmatchcase(voice.speaker, pattern) for voice in voices):
            raise ConfigError(f"no voice is called {pattern!r}; see --list-voices")
    if patterns:
        voices = [v for v in voices if any(fnmatchcase(v.speaker, each) for each in patterns)]
    return voices, (told + silent if asked_for else [])


def _listed(*command: str) -> str:
    """What an engine prints.

    Raises:
        DataError: it fails.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LISTING_LIMIT,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = " ".join(error.stderr.decode(errors="replace").split()[-20:])
        raise DataError(
            f"{command[0]} does not list its voices (exit code {error.returncode}): {last}"
        ) from None
    except (OSError, subprocess.SubprocessError) as error:
        raise DataError(f"{command[0]} does not list its voices: {error}") from None
    return done.stdout.decode(errors="replace")
