"""How each corpus lies on a disk, one file each; `LAYOUTS` has them by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ds2edge.training.importing.entries import Entry, Files
from ds2edge.training.importing.layouts import (
    aishell,
    an4,
    common_voice,
    kaldi,
    librispeech,
    lj_speech,
    speechocean762,
    table,
    ted_lium,
    thchs30,
    vctk,
    voxforge,
)

SOUND = r"\.(wav|flac|mp3|ogg|opus|sph|raw|aiff?|au|m4a)$"  # the end of a recording's path


@dataclass(frozen=True)
class Layout:
    """How a corpus is read."""

    read: Callable[[Files], Iterator[Entry]]
    expects: str  # what it looks for, in one line
    tokens: str = "english_characters"  # that are to spell its texts
    recordings: str = SOUND  # pattern of the paths that should have a transcript
    nested: str = ""  # pattern of the archives that are packed inside of its archive
    of_a_file: bool = False  # a source may be a file that is no archive


LAYOUTS = {
    "librispeech": Layout(
        librispeech.read, "*.trans.txt beside *.flac, in train-*, dev-* and test-*"
    ),
    "common-voice": Layout(
        common_voice.read,
        "train.tsv, dev.tsv and test.tsv, or validated.tsv, beside clips/",
        recordings=r"/clips/[^/]+$",
    ),
    "an4": Layout(an4.read, "etc/an4_*.transcription, wav/**/*.sph or *.raw (16 kHz)"),
    "voxforge": Layout(
        voxforge.read, "for each SPEAKER-DATE-ID: etc/prompts-original or PROMPTS, wav/ or flac/"
    ),
    "ted-lium": Layout(
        ted_lium.read,
        "legacy/{train,dev,test}/stm/*.stm and sph/*.sph, or without legacy/",
        recordings=r"/(train|dev|test)/sph/[^/]+\.sph$",
    ),
    "lj-speech": Layout(lj_speech.read, "metadata.csv with ID|text|text to read, wavs/ID.wav"),
    "vctk": Layout(
        vctk.read,
        "txt/SPEAKER/*.txt, wav48_silence_trimmed/SPEAKER/*_mic1.flac or wav48/SPEAKER/*.wav",
        recordings=r"(_mic1\.flac|/wav48/.*\.wav)$",
    ),
    "speechocean762": Layout(
        speechocean762.read, "{train,test}/{wav.scp,text,utt2spk}, WAVE/SPEAKER*/*.WAV"
    ),
    "aishell-1": Layout(
        aishell.read,
        "transcript/aishell_transcript_v0.8.txt, wav/{train,dev,test}/*/*.wav or wav/*.tar.gz",
        tokens="mandarin_characters",
        nested="*/wav/*.tar.gz",
    ),
    "thchs-30": Layout(
        thchs30.read,
        "data/*.wav and *.wav.trn, and the same names in train/, dev/ and test/",
        tokens="mandarin_characters",
        recordings=r"/data/[^/]+\.wav$",
    ),
    "table": Layout(
        table.read,
        "*.csv, *.tsv, *.jsonl or *manifest*.json with a column of paths and one of texts",
        of_a_file=True,
    ),
    "kaldi": Layout(kaldi.read, "folders with wav.scp (no pipes) and text, perhaps segments"),
}
