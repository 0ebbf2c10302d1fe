"""Each public corpus in small to the rows of its manifest, unpacked and packed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from pathlib import Path

import import_corpora
import numpy as np
import pytest
import soundfile
from import_corpora import CORPORA, Corpus, record, said, sound, write

from ds2edge import cli
from ds2edge.training.data.manifest import Utterance, read_manifest
from ds2edge.training.importing.layouts import LAYOUTS


def run_import(layout: str, *arguments: object) -> int:
    more = ("--jobs", "1", "--dev-share", "0")
    return cli.main(["data", "import", layout, *map(str, arguments), *more])


def check(folder: Path, root: Path, corpus: Corpus) -> list[Utterance]:
    """Rows and reasons are the corpus's, whose files lie below `root`."""
    utterances = read_manifest(folder / "manifest.tsv")
    found = []
    for u in utterances:
        place = u.path.resolve()
        base = folder if place.is_relative_to(folder / "audio") else root
        found.append((str(place.relative_to(base)), u.text, u.speaker, u.split))
        assert u.seconds == pytest.approx(soundfile.info(u.path).duration, abs=0.06)
    assert sorted(found) == sorted(corpus.rows)
    dropped = (folder / "dropped.tsv").read_text().splitlines()[1:]
    assert sorted(line.split("\t")[1] for line in dropped) == sorted(corpus.dropped)
    return utterances


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_becomes_a_manifest(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, build = CORPORA[name]
    root, folder = tmp_path / "download", tmp_path / "corpus"
    corpus = build(root)
    assert run_import(layout, root, "-o", folder) == 0
    utterances = check(folder, root, corpus)
    told = capsys.readouterr().out
    assert f"{folder}: {len(utterances)} recordings of 0.00 h" in told
    for reason in corpus.dropped:
        assert f"  {corpus.dropped.count(reason)} {reason} (first: " in told
    report = json.loads((folder / "report.json").read_bytes())
    assert sum(of["recordings"] for of in report["dropped"].values()) == len(corpus.dropped)
    assert sum(of["recordings"] for of in report["splits"].values()) == len(corpus.rows)


@pytest.mark.parametrize("kind", ["gztar", "zip"])
@pytest.mark.parametrize("name", ["librispeech", "ted-lium", "voxforge", "thchs-30"])
def test_a_packed_corpus_gives_the_same(name: str, kind: str, tmp_path: Path) -> None:
    layout, build = CORPORA[name]
    root, folder = tmp_path / "download", tmp_path / "corpus"
    corpus = build(root)
    archive = shutil.make_archive(str(tmp_path / "packed"), kind, root)
    shutil.rmtree(root)
    assert run_import(layout, archive, "-o", folder) == 0
    check(folder, folder / "unpacked" / "packed", corpus)
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize("packed", [False, True])
def test_the_archives_inside_of_aishell_are_unpacked(packed: bool, tmp_path: Path) -> None:
    root, folder = tmp_path / "download", tmp_path / "corpus"
    corpus = import_corpora.aishell(root, packed=True)
    source = root
    if packed:
        source = Path(shutil.make_archive(str(tmp_path / "data_aishell_"), "gztar", root))
    assert run_import("aishell-1", source, "-o", folder) == 0
    rows = read_manifest(folder / "manifest.tsv")
    assert [(u.path.name, u.text, u.speaker, u.split) for u in rows] == [
        (Path(path).name, *rest) for path, *rest in corpus.rows
    ]
    assert all(u.path.is_relative_to(folder / "unpacked") for u in rows)
    assert not list(folder.rglob("*.tar.gz"))


def test_what_is_unpacked_inside_of_aishell_is_not_unpacked_again(tmp_path: Path) -> None:
    root, folder = tmp_path / "download", tmp_path / "corpus"
    corpus = import_corpora.aishell(root)
    write(root / "data_aishell/wav/S0002.tar.gz", "it is not even opened")
    assert run_import("aishell-1", root, "-o", folder) == 0
    check(folder, root, corpus)


def test_a_folder_of_downloads_is_unpacked(tmp_path: Path) -> None:
    root, folder, downloads = tmp_path / "visits", tmp_path / "corpus", tmp_path / "downloads"
    corpus = import_corpora.voxforge(root)
    downloads.mkdir()
    for visit in root.iterdir():
        with tarfile.open(downloads / f"{visit.name}.tgz", "w:gz") as tar:
            tar.add(visit, visit.name)
    assert run_import("voxforge", downloads, "-o", folder) == 0
    rows = {(u.path.name, u.text, u.speaker) for u in read_manifest(folder / "manifest.tsv")}
    assert rows == {(Path(path).name, text, speaker) for path, text, speaker, _ in corpus.rows}


def test_a_part_of_a_recording_has_its_samples(tmp_path: Path) -> None:
    import_corpora.ted_lium(tmp_path / "download")
    assert run_import("ted-lium", tmp_path / "download", "-o", tmp_path / "corpus") == 0
    (cut,) = (tmp_path / "corpus/audio/AaronHuey_2010X").iterdir()  # of those that are dropped none
    samples, rate = soundfile.read(cut, dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(samples, sound(0)[16_000:40_000])


@pytest.mark.parametrize("order", [">i2", "<i2"])
def test_samples_without_a_header_are_read_in_either_order(order: str, tmp_path: Path) -> None:
    import_corpora.an4_raw(tmp_path / "download", order)
    assert run_import("an4", tmp_path / "download", "-o", tmp_path / "corpus") == 0
    samples, _ = soundfile.read(
        tmp_path / "corpus/audio/an251-fash-b/an251-fash-b.flac", dtype="int16"
    )
    np.testing.assert_array_equal(samples, sound(0))


def test_a_corpus_can_be_imported_where_it_is(tmp_path: Path) -> None:
    corpus = import_corpora.lj_speech(tmp_path)
    for _ in range(2):
        assert run_import("lj-speech", tmp_path, "-o", tmp_path / "LJSpeech-1.1") == 0
        rows = read_manifest(tmp_path / "LJSpeech-1.1/manifest.tsv")
        assert [(u.text, u.speaker) for u in rows] == [row[1:3] for row in corpus.rows]
    assert (tmp_path / "LJSpeech-1.1/manifest.tsv").read_text().splitlines()[1].startswith("wavs/")


def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    import_corpora.vctk_of_old(tmp_path / "download")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep/er")
    assert run_import("vctk", tmp_path / "download", "-o", tmp_path / "link") == 0
    (utterance,) = read_manifest(tmp_path / "link/manifest.tsv")
    assert utterance.path.exists()


def test_speakers_are_held_back(tmp_path: Path) -> None:
    root = tmp_path / "download"
    for speaker in range(4):
        for take in range(2):
            name = f"p{speaker}_{take}"
            path = root / f"wav48/p{speaker}/{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound(0)[: 30_000 + 1000 * (2 * speaker + take)], 16_000)
            write(root / f"txt/p{speaker}/{name}.txt", "i am going sir")

    def splits(*shares: object) -> dict[str, list[str]]:
        command = ["data", "import", "vctk", str(root), "-o", str(tmp_path / "corpus")]
        assert cli.main([*command, "--jobs", "1", *map(str, shares)]) == 0
        found: dict[str, list[str]] = {}
        for u in read_manifest(tmp_path / "corpus/manifest.tsv"):
            found.setdefault(u.split, []).append(u.speaker)
        return found

    by_speaker = splits("--dev-share", 0.25, "--test-share", 0.25)
    assert {split: len(set(of)) for split, of in by_speaker.items()} == {
        "dev": 1,
        "test": 1,
        "train": 2,
    }
    assert len(set(by_speaker["dev"]) & set(by_speaker["train"] + by_speaker["test"])) == 0
    assert by_speaker == splits("--dev-share", 0.25, "--test-share", 0.25)
    # Too few speakers for a twentieth of them: single recordings are held back.
    assert {split: len(of) for split, of in splits().items()} == {"dev": 1, "train": 7}


def test_the_splits_of_a_corpus_stay(tmp_path: Path) -> None:
    import_corpora.an4_sphere(tmp_path / "download")
    command = ["data", "import", "an4", str(tmp_path / "download"), "-o"]
    assert cli.main([*command, str(tmp_path / "corpus"), "--jobs", "1", "--dev-share", "0.1"]) == 0
    rows = read_manifest(tmp_path / "corpus/manifest.tsv")
    assert [(u.speaker, u.split) for u in rows] == [("fcaw", "test"), ("fash", "dev")]


def test_what_is_wrong_with_a_recording_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "download"
    lines = []
    files = {
        "good": sound(0) / 32768,
        "nan": np.where(np.arange(30_000) == 20_000, np.nan, sound(0)[:30_000] / 32768),
        "long": np.tile(sound(0) / 32768, 8),
        "none": np.zeros(0),
        "slow": np.resize(sound(1) / 32768, 16_000 * 30),
        "fast": sound(2)[:16_000] / 32768,
    }
    texts = {"slow": "yes", "fast": said(2), "long": said(0) * 5}
    for name, samples in files.items():
        path = root / f"wavs/{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        lines.append(f"{name}|{texts.get(name, said(0))}")
    write(root / "wavs/text.wav", "this is no sound")
    (root / "wavs/empty.wav").touch()
    with (root / "wavs/cut.flac").open("wb") as file:
        soundfile.write(file, sound(3), 16_000, format="FLAC")
    shortened = (root / "wavs/cut.flac").read_bytes()[:-20_000]
    (root / "wavs/cut.flac").unlink()
    (root / "wavs/cut.wav").write_bytes(shortened)
    lines += [f"{name}|{said(3)}" for name in ("text", "empty", "cut")]
    lines += ["numbers|in 1984", "silent|...", "marked", "good|twice"]
    write(root / "metadata.csv", "\n".join(lines))
    assert run_import("lj-speech", root, "-o", tmp_path / "corpus") == 0
    told = capsys.readouterr()
    assert not told.err
    assert "5 that cannot be read (first: nan: " in told.out
    for reason in (
        "longer than 35 s (first: long: 39.92 s)",
        "too long for its text (first: slow: 3 characters in 30.00 s)",
        "too short for its text (first: fast: 90 characters in 1.00 s)",
        "that cannot be spelled (first: numbers: '1984' in 'in 1984')",
        "without text (first: silent: '...')",
        f"that cannot be made sense of (first: marked: {root}/metadata.csv, line 12: needed",
        "whose id is there already (first: good: ",
    ):
        assert f"\n  1 {reason}" in told.out
    details = (tmp_path / "corpus/dropped.tsv").read_text()
    for detail in (
        "must be finite numbers, got nan",
        "has 0 samples",
        "is not a readable",
        "is empty",
        "or cut short",
    ):
        assert detail in details
    assert [u.path.name for u in read_manifest(tmp_path / "corpus/manifest.tsv")] == ["good.wav"]


def test_names_that_no_manifest_can_hold_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_corpora.vctk_of_old(tmp_path / "download")
    for name in (b"p225_\xff", b"p225_\t2"):
        write(tmp_path / "download/VCTK-Corpus/txt/p225" / f"{os.fsdecode(name)}.txt", said(1))
        record(tmp_path / "download/VCTK-Corpus/wav48/p225" / f"{os.fsdecode(name)}.wav", 1)
    assert run_import("vctk", tmp_path / "download", "-o", tmp_path / "corpus") == 0
    told = capsys.readouterr().out
    assert "2 with a name that no manifest can hold (first: p225_\t2: " in told
    assert len(read_manifest(tmp_path / "corpus/manifest.tsv")) == 1


def test_of_nothing_usable_there_is_no_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_corpora.vctk_of_old(tmp_path / "download")
    write(tmp_path / "download/VCTK-Corpus/txt/p225/p225_001.txt", "这 是 中文")
    assert run_import("vctk", tmp_path / "download", "-o", tmp_path / "corpus") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "none of the 1 recordings of" in line
    assert "1 that cannot be spelled (first: p225_001: '这是中文' in" in line
    assert not (tmp_path / "corpus/manifest.tsv").exists()
    # With the tokens that can spell it, there is one.
    more = ("--tokens", "mandarin_characters")
    assert run_import("vctk", tmp_path / "download", "-o", tmp_path / "corpus", *more) == 0


def test_texts_are_made_simplified_and_spelled_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("opencc")
    import_corpora.vctk_of_old(tmp_path / "download")
    write(tmp_path / "download/VCTK-Corpus/txt/p225/p225_001.txt", "這是2個")
    command = ("vctk", tmp_path / "download", "-o", tmp_path / "corpus")
    more = ("--tokens", "mandarin_characters")
    assert run_import(*command, *more) == 2
    assert "--simplify converts traditional characters" in capsys.readouterr().err
    assert run_import(*command, *more, "--simplify", "--numerals", "zh") == 0
    (utterance,) = read_manifest(tmp_path / "corpus/manifest.tsv")
    assert utterance.text == "这是两个"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["librispeech", "{tmp}/none"], "there is no {tmp}/none"),
        (["librispeech", "{tmp}/a.txt"], "{tmp}/a.txt is neither a folder nor an archive (.tar, "),
        (["librispeech", "{tmp}/empty"], "empty holds no librispeech: looked for *.trans.txt bes"),
        (["an4", "{tmp}/download"], "looked for etc/an4_*.transcription, wav/**/*.sph or *.raw"),
        (["an4", "{tmp}/download"], "found 2 files, VCTK-Corpus/txt/p225/p225_001.txt, VCTK"),
        (["vctk", "{tmp}/download", "--dev-share", "1"], "--dev-share and --test-share need 0"),
        (["vctk", "{tmp}/download", "--jobs", "0"], "--jobs needs 1 or more"),
        (["vctk", "{tmp}/download", "--text-column", "x"], "columns are for the layout table"),
        (["vctk", "{tmp}/download", "-o", "{tmp}"], "was not made by `ds2edge data import`"),
        (["timit", "{tmp}/download"], "argument LAYOUT: invalid choice: 'timit'"),
    ],
)
def test_bad_use_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import_corpora.vctk_of_old(tmp_path / "download")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "a.txt", "text")
    write(tmp_path / "manifest.tsv", "mine")
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    command = ["data", "import", filled[0], "-o", str(tmp_path / "corpus"), *filled[1:]]
    with pytest.raises(SystemExit, match="2"):  # the parser's, or this one
        sys.exit(cli.main(command))
    error = capfd.readouterr().err.splitlines()[-1]
    assert message.format(tmp=tmp_path) in error
    assert (tmp_path / "manifest.tsv").read_text() == "mine"
    assert not (tmp_path / "corpus/manifest.tsv").exists()


def test_help_tells_every_layout(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["data", "import", "--help"])
    text = capfd.readouterr().out
    assert "ds2edge data import librispeech train-clean-100.tar.gz" in text
    for name, layout in LAYOUTS.items():
        assert f"  {name:<15} {layout.expects}" in text
