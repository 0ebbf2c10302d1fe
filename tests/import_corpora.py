"""Public corpora in small: a few files of each, as they really lie, with what is wrong in some."""

from __future__ import annotations

import csv
import functools
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from conftest import RECORDINGS, SPEECH

from ds2edge.audio_file import read_audio

MISSING, UNLISTED = "without a recording", "without a transcript"
SAME_ID, SAME_SOUND = "whose id is there already", "whose sound is there already"
SENSELESS, UNREADABLE = "that cannot be made sense of", "that cannot be read"

Row = tuple[str, str, str, str]  # path, text, speaker, split


@dataclass
class Corpus:
    """What an import is to make of a folder."""

    rows: list[Row]  # paths as in the folder; `audio/` where a file is written
    dropped: list[str] = field(default_factory=list)  # the reasons, sorted


@functools.cache
def sound(number: int) -> np.ndarray[Any, Any]:
    """Real speech at 16 kHz, as 16-bit samples."""
    return np.rint(read_audio(RECORDINGS[number], 16_000) * 32767).astype(np.int16)


@functools.cache
def said(number: int) -> str:
    """What is said in it."""
    with (SPEECH / "manifest.tsv").open() as file:
        texts = {row["path"]: row["text"] for row in csv.DictReader(file, delimiter="\t")}
    return texts[RECORDINGS[number].name]


def record(path: Path, number: int, **form: Any) -> None:
    """Write speech to a file whose ending tells the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()
    kind = {"sph": "NIST"}.get(path.suffix[1:].lower(), path.suffix[1:].upper())
    soundfile.write(encoded, sound(number), 16_000, format=kind, **form)
    path.write_bytes(encoded.getvalue())


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def librispeech(root: Path) -> Corpus:
    train = root / "LibriSpeech/train-clean-100/84/121123"
    test = root / "LibriSpeech/test-other/2428/83705"
    for folder, number in ((train, 0), (train, 1), (test, 2)):
        name = f"{folder.parent.name}-{folder.name}-{number:04}"
        record(folder / f"{name}.flac", number)
    record(train / "84-121123-0008.flac", 0)
    record(train / "84-121123-0009.flac", 3)
    lines = [f"84-121123-{n:04} {said(n).upper()}" for n in (0, 1)]
    lines += [f"84-121123-0007 {said(2).upper()}", f"84-121123-0008 {said(0).upper()}"]
    write(train / "84-121123.trans.txt", "\n".join(lines) + "\n")
    write(test / "2428-83705.trans.txt", f"2428-83705-0002 {said(2).upper()}\n")
    write(root / "LibriSpeech/SPEAKERS.TXT", "; no transcript\n")
    place = "LibriSpeech/train-clean-100/84/121123/84-121123-000"
    rows = [
        ("LibriSpeech/test-other/2428/83705/2428-83705-0002.flac", said(2).upper(), "2428", "test"),
        (f"{place}0.flac", said(0).upper(), "84", "train"),
        (f"{place}1.flac", said(1).upper(), "84", "train"),
    ]
    return Corpus(rows, [MISSING, SAME_SOUND, UNLISTED])


def common_voice(root: Path) -> Corpus:
    folder = root / "cv-corpus/en"
    header = "client_id\tpath\tsentence\tup_votes\n"
    for number in range(4):
        record(folder / f"clips/common_voice_en_{number}.mp3", number)
    sentence = f'"{said(1)}, he said'  # a quote that is never closed
    write(
        folder / "train.tsv",
        f"{header}aa\tcommon_voice_en_1.mp3\t{sentence}\t2\n"
        f"aa\tcommon_voice_en_1.mp3\t{sentence}\t2\n"
        f"aa\tcommon_voice_en_8.mp3\t{said(1)}\t2\n"
        "bb\tcommon_voice_en_2.mp3\tin 1984\t2\n",
    )
    write(folder / "dev.tsv", f"{header}cc\tcommon_voice_en_0\t{said(0)}\t2\n")
    write(folder / "validated.tsv", f"{header}cc\tcommon_voice_en_3.mp3\t{said(3)}\t2\n")
    clips = "cv-corpus/en/clips/common_voice_en"
    rows = [(f"{clips}_0.mp3", said(0), "cc", "dev"), (f"{clips}_1.mp3", sentence, "aa", "train")]
    return Corpus(rows, ["that cannot be spelled", SAME_ID, MISSING, UNLISTED])


def an4_sphere(root: Path) -> Corpus:
    record(root / "an4/wav/an4_clstk/fash/an251-fash-b.sph", 0)
    record(root / "an4/wav/an4_clstk/fash/an253-fash-b.sph", 0)
    record(root / "an4/wav/an4test_clstk/fcaw/an406-fcaw-b.sph", 1)
    record(root / "an4/wav/an4test_clstk/fcaw/an407-fcaw-b.sph", 2)
    texts = [said(0).upper(), said(1).upper()]
    write(
        root / "an4/etc/an4_train.transcription",
        f"<s> {texts[0]} </s> (an251-fash-b)\n<s> YES </s> (an252-fash-b)\n"
        f"<s> {texts[0]} </s> (an253-fash-b)\nno name\n",
    )
    write(root / "an4/etc/an4_test.transcription", f"{texts[1]}  (an406-fcaw-b)\n")
    rows = [
        ("an4/wav/an4test_clstk/fcaw/an406-fcaw-b.sph", texts[1], "fcaw", "test"),
        ("an4/wav/an4_clstk/fash/an251-fash-b.sph", texts[0], "fash", "train"),
    ]
    return Corpus(rows, [SENSELESS, MISSING, SAME_SOUND, UNLISTED])


def an4_raw(root: Path, order: str = ">i2") -> Corpus:
    path = root / "an4/wav/an4_clstk/fash/an251-fash-b.raw"
    write(path, "")
    path.write_bytes(sound(0).astype(order).tobytes())
    write(path.with_name("an252-fash-b.raw"), "odd")
    lines = [f"<s> {said(0)} </s> (an25{n}-fash-b)" for n in (1, 2)]
    write(root / "an4/etc/an4_train.transcription", "\n".join(lines))
    rows = [("audio/an251-fash-b/an251-fash-b.flac", said(0), "fash", "train")]
    return Corpus(rows, [UNREADABLE])


def voxforge(root: Path) -> Corpus:
    ralf, nobody, other = "ralf-20071220-de34", "anonymous-20080101-abc", "zoe-20080102-xyz"
    record(root / ralf / "wav/de34-1.wav", 0)
    record(root / ralf / "wav/de34-9.wav", 2)
    record(root / nobody / "flac/a0001.flac", 1)
    record(root / other / "wav/a0001.wav", 0)
    write(root / ralf / "etc/README", "User Name:ralfherzog\n\nSpeaker Characteristics:\n")
    write(root / ralf / "etc/prompts-original", f"de34-1 Café, {said(0)}\n", "latin-1")
    write(root / ralf / "etc/PROMPTS", f"{ralf}/mfc/de34-1 NOT THIS ONE\n")
    write(root / nobody / "etc/PROMPTS", f"{nobody}/mfc/a0001 {said(1)}\n{nobody}/mfc/a0002 GONE\n")
    write(root / other / "etc/PROMPTS", f"*/mfc/a0001 {said(0)}\n")
    rows = [
        (f"{nobody}/flac/a0001.flac", said(1), nobody, "train"),
        (f"{ralf}/wav/de34-1.wav", f"Café, {said(0)}", "ralfherzog", "train"),
    ]
    return Corpus(rows, [MISSING, SAME_SOUND, UNLISTED])


def ted_lium(root: Path) -> Corpus:
    legacy = root / "TEDLIUM_release-3/legacy"
    record(legacy / "train/sph/AaronHuey_2010X.sph", 0)
    record(legacy / "dev/sph/Al_2006.sph", 1)
    record(legacy / "dev/sph/Bob_2006.sph", 2)
    lines = [
        "1.00 2.50 <o,f0,male> {SMACK} that 's what <sil> we did(2)",
        "1.00 2.50 <o,f0,male> that 's what we did",
        "2.50 4.00 <NA> going to <unk> hesitate",
        "2.50 3.00 <NA> ignore_time_segment_in_scoring",
        "3.00 40.00 <NA> far too long",
        "4.00 9.00 <NA> beyond the end",
        "times are missing",
    ]
    write(
        legacy / "train/stm/AaronHuey_2010X.stm",
        "".join(f"AaronHuey_2010X 1 AaronHuey_2010X {line}\n" for line in lines),
    )
    write(legacy / "dev/stm/Al_2006.stm", f"Al_2006 1 Al 0 3.3 <o,f0,female> {said(1)}\n")
    write(legacy / "dev/stm/Gone_2006.stm", "Gone_2006 1 Gone 0 3 <o,f0,female> never heard\n")
    write(root / "TEDLIUM_release-3/speaker-adaptation/train/stm/x.stm", "not to be read\n")
    rows = [
        ("audio/Al_2006/Al_2006-0000000-0000330.flac", said(1), "Al", "dev"),
        (
            "audio/AaronHuey_2010X/AaronHuey_2010X-0000100-0000250.flac",
            "that's what we did",
            "AaronHuey_2010X",
            "train",
        ),
    ]
    dropped = ["beyond the end of the recording", "longer than 35 s", SENSELESS, SENSELESS]
    return Corpus(rows, [*dropped, SAME_ID, MISSING, UNLISTED])


def lj_speech(root: Path) -> Corpus:
    for number, name in enumerate(("LJ001-0001", "LJ001-0002", "LJ001-0009")):
        record(root / f"LJSpeech-1.1/wavs/{name}.wav", number)
    record(root / "LJSpeech-1.1/wavs/LJ001-0004.wav", 1)
    write(
        root / "LJSpeech-1.1/metadata.csv",
        f'LJ001-0001|in 1455, "{said(0)}|in fourteen fifty-five, {said(0)}\n'
        f"LJ001-0002|{said(1)}|{said(1)}\nLJ001-0003|gone|gone\nLJ001-0004|{said(1)}|{said(1)}\n",
    )
    wavs = "LJSpeech-1.1/wavs"
    rows = [
        (f"{wavs}/LJ001-0001.wav", f"in fourteen fifty-five, {said(0)}", "lj", "train"),
        (f"{wavs}/LJ001-0002.wav", said(1), "lj", "train"),
    ]
    return Corpus(rows, [MISSING, SAME_SOUND, UNLISTED])


def vctk(root: Path) -> Corpus:
    trimmed = root / "wav48_silence_trimmed"
    record(trimmed / "p225/p225_001_mic1.flac", 0)
    record(trimmed / "p225/p225_001_mic2.flac", 0)
    record(trimmed / "p225/p225_003_mic1.flac", 0)
    record(trimmed / "p280/p280_001_mic2.flac", 1)
    record(trimmed / "p315/p315_001_mic1.flac", 2)
    for name, text in (("p225_001", said(0)), ("p225_002", "Gone."), ("p225_003", said(0))):
        write(root / f"txt/p225/{name}.txt", f"{text}\n")
    write(root / "txt/p280/p280_001.txt", said(1))
    rows = [
        ("wav48_silence_trimmed/p225/p225_001_mic1.flac", said(0), "p225", "train"),
        ("wav48_silence_trimmed/p280/p280_001_mic2.flac", said(1), "p280", "train"),
    ]
    return Corpus(rows, [MISSING, SAME_SOUND, UNLISTED])


def vctk_of_old(root: Path) -> Corpus:
    record(root / "VCTK-Corpus/wav48/p225/p225_001.wav", 0)
    write(root / "VCTK-Corpus/txt/p225/p225_001.txt", f"{said(0)}\n")
    return Corpus([("VCTK-Corpus/wav48/p225/p225_001.wav", said(0), "p225", "train")])


def speechocean762(root: Path) -> Corpus:
    folder = root / "speechocean762"
    for number, speaker in ((0, "0001"), (1, "0003"), (2, "0009")):
        record(folder / f"WAVE/SPEAKER{speaker}/00{speaker}01{number}.WAV", number)
    write(
        folder / "train/wav.scp",
        "00000101 WAVE/x.WAV\n00000102\tWAVE/SPEAKER0001/000001010.WAV\n"
        "00000103\tWAVE/SPEAKER0001/000001010.WAV\n",
    )
    text = said(0).upper()
    write(folder / "train/text", f"00000102\t{text}\n00000101\tGONE\n00000103\t{text}\n")
    write(folder / "train/utt2spk", "00000101\t0001\n00000102\t0001\n")
    write(folder / "test/wav.scp", "00000301\tWAVE/SPEAKER0003/000003011.WAV\n")
    write(folder / "test/text", f"00000301\t{said(1).upper()}\n")
    write(folder / "test/utt2spk", "00000301\t0003\n")
    place = "speechocean762/WAVE"
    rows = [
        (f"{place}/SPEAKER0003/000003011.WAV", said(1).upper(), "0003", "test"),
        (f"{place}/SPEAKER0001/000001010.WAV", text, "0001", "train"),
    ]
    return Corpus(rows, [MISSING, SAME_SOUND, UNLISTED])


HANZI = ("而 对 楼市 成交 抑制 作用 最 大 的 限 购", "也 成为 地方 政府 的 眼中 钉")


def aishell(root: Path, packed: bool = False) -> Corpus:
    """Perhaps with the archives of the speakers as they are in the download."""
    folder = root / "data_aishell"
    places = {
        "BAC009S0002W0122": "train",
        "BAC009S0764W0121": "test",
        "BAC009S0002W0124": "train",
        "BAC009S0002W0129": "train",
    }
    for number, (name, split) in zip((0, 1, 0, 2), places.items(), strict=True):
        record(folder / f"wav/{split}/{name[6:11]}/{name}.wav", number)
    texts = dict(zip(places, (*HANZI, HANZI[0]), strict=False))
    lines = [f"{name} {text}\n" for name, text in texts.items()]
    lines.append("BAC009S0003W0121 这 是 没有 的\n")
    write(folder / "transcript/aishell_transcript_v0.8.txt", "".join(lines))
    rows = [
        (f"data_aishell/wav/{places[n]}/{n[6:11]}/{n}.wav", texts[n], n[6:11], places[n])
        for n in list(places)[:2]
    ]
    if packed:
        for split, speaker in (("train", "S0002"), ("test", "S0764")):
            with tarfile.open(folder / f"wav/{speaker}.tar.gz", "w:gz") as tar:
                tar.add(folder / "wav" / split, split)
            for path in (folder / "wav" / split / speaker).iterdir():
                path.unlink()
            (folder / "wav" / split / speaker).rmdir()
            (folder / "wav" / split).rmdir()
    return Corpus(rows, [MISSING, SAME_SOUND, UNLISTED])


def thchs30(root: Path) -> Corpus:
    folder = root / "data_thchs30"
    for number, name in enumerate(("A11_0", "B22_1", "C33_2")):
        record(folder / f"data/{name}.wav", number)
    record(folder / "data/A11_9.wav", 0)
    pinyin = "\nlv4 shi4\nl v4 sh ix4\n"
    for name, text in (("A11_0", HANZI[0]), ("B22_1", f"l = {HANZI[1]}"), ("A11_9", HANZI[0])):
        write(folder / f"data/{name}.wav.trn", text + pinyin)
    for split, name in (("train", "A11_0"), ("train", "A11_9"), ("dev", "B22_1")):
        write(folder / split / f"{name}.wav.trn", f"../data/{name}.wav.trn\n")
        (folder / split / f"{name}.wav").symlink_to(f"../data/{name}.wav")
    write(folder / "test/D4_750.wav.trn", "../data/D4_750.wav.trn\n")
    rows = [
        ("data_thchs30/data/B22_1.wav", HANZI[1], "B22", "dev"),
        ("data_thchs30/data/A11_0.wav", HANZI[0], "A11", "train"),
    ]
    return Corpus(rows, [SAME_SOUND, UNLISTED, "without text"])


CORPORA: dict[str, tuple[str, Callable[[Path], Corpus]]] = {
    "librispeech": ("librispeech", librispeech),
    "common-voice": ("common-voice", common_voice),
    "an4-sphere": ("an4", an4_sphere),
    "an4-raw": ("an4", an4_raw),
    "voxforge": ("voxforge", voxforge),
    "ted-lium": ("ted-lium", ted_lium),
    "lj-speech": ("lj-speech", lj_speech),
    "vctk": ("vctk", vctk),
    "vctk-of-old": ("vctk", vctk_of_old),
    "speechocean762": ("speechocean762", speechocean762),
    "aishell-1": ("aishell-1", aishell),
    "thchs-30": ("thchs-30", thchs30),
}
