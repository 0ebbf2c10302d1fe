"""`ds2edge bundle`, and bundles that older versions made."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from language_model_folder import write_language_model

from ds2edge import Bundle, Transcriber, load_bundle
from ds2edge.audio_file import read_audio
from ds2edge.bundle import CARD, FORMAT, LEXICON, MANIFEST, write_bundle
from ds2edge.bundle_tools import NOTE, repack
from ds2edge.cli import main as cli
from ds2edge.decoder import Confidence
from ds2edge.pipeline import load_pipeline
from ds2edge.text import english_bigrams

BUNDLES = Path(__file__).parent / "data" / "bundles"
FORMATS = range(2, FORMAT + 1)
FITTED = Confidence(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)


@pytest.fixture
def bundle(cache: Path, tmp_path: Path) -> Bundle:
    """The kept one of today, with language model, lexicon and figures; a folder."""
    kept = load_bundle(BUNDLES / f"format-{FORMAT}.ds2")
    fitted = {"language_model": FITTED, "letters": FITTED}
    return write_bundle(
        tmp_path / "bundle",
        replace(kept.manifest, confidence=fitted),
        {name: kept.folder / name for name in kept.manifest.members},
    )


def run(*arguments: object) -> None:
    assert cli(["bundle", *map(str, arguments)]) == 0


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a refusal."""
    capsys.readouterr()
    assert cli(["bundle", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


# ---- Versions


@pytest.mark.parametrize("number", FORMATS)
def test_a_bundle_of_every_format_is_read(number: int, cache: Path) -> None:
    """Raising the format needs a bundle of the new one beside these: tests/data/bundles/make.py."""
    path = BUNDLES / f"format-{number}.ds2"
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read(MANIFEST))["format"] == number
    samples = read_audio(RECORDINGS[0], 16_000)[: 2 * 16_000]
    with np.load(path.with_suffix(".npz")) as stored:
        expected = stored["log_probs"]
    found = load_pipeline(load_bundle(path)).log_probs(samples)
    assert found.shape == expected.shape
    difference = np.abs(found - expected)  # kernels of other processors round differently
    assert difference.max() < 0.5
    assert difference.mean() < 0.05
    words = Transcriber(path).transcribe(samples, 16_000).words
    assert {word.text for word in words} <= {"a", "ab", "all"}


def test_a_newer_format_is_refused(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle.folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": FORMAT + 1}))
    message = refusal(capsys, "show", bundle.folder)
    assert f"format {FORMAT + 1}, this ds2edge reads up to {FORMAT}; upgrade ds2edge" in message


# ---- show, verify


def test_show_tells_what_is_in_a_bundle(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run("show", "--json", bundle.folder)
    facts = json.loads(capsys.readouterr().out)
    manifest = bundle.manifest
    assert (facts["name"], facts["format"], facts["licence"]) == (
        *(manifest.name, FORMAT, "CC0-1.0"),
    )
    assert facts["bytes"] == sum(path.stat().st_size for path in bundle.folder.iterdir())
    assert facts["lexicon"] == 3
    assert facts["grid"]["step_ms"] == 30
    for artefact in facts["artefacts"]:
        assert artefact["bytes"] == (bundle.folder / artefact["file"]).stat().st_size
    assert {name: m["sha256"] for name, m in facts["members"].items()} == manifest.members
    run("show", bundle.folder)
    shown = capsys.readouterr().out
    for artefact in manifest.artefacts:
        assert f"{artefact.weights}, {artefact.form}" in shown
    for fact in ("CC0-1.0", "3 words", "step 30 ms", "beam 64", "sources tiny.arpa", "wer "):
        assert fact in shown
    for name, digest in manifest.members.items():
        assert name in shown
        assert digest[:12] in shown


def test_show_takes_names_literally(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("repack", bundle.folder, "-o", tmp_path / "named", "--name", "[/b] [red]:smile:")
    run("show", tmp_path / "named")
    assert "[/b] [red]:smile:" in capsys.readouterr().out


def test_verify_says_what_it_checked(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    run("verify", bundle.folder)
    shown = capsys.readouterr().out
    assert f"{len(bundle.manifest.members)} members" in shown
    assert "lexicon of 3 words, language model: they belong together" in shown
    for artefact in bundle.manifest.artefacts:
        assert f"{artefact.file}, {artefact.weights}, LiteRT" in shown
    assert shown.count("off by") >= len(bundle.manifest.artefacts)
    assert shown.endswith("whole\n")


def rewritten(bundle: Bundle, **members: bytes) -> Bundle:
    """The same with other members, and digests that are theirs."""
    content = {name: (bundle.folder / name).read_bytes() for name in bundle.manifest.members}
    return write_bundle(bundle.folder, bundle.manifest, {**content, **members})


def test_verify_finds_a_damaged_member(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle.folder / LEXICON
    path.write_bytes(path.read_bytes().swapcase())
    assert f"member {LEXICON} is damaged" in refusal(capsys, "verify", bundle.folder)


def test_verify_finds_words_that_the_language_model_lacks(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    rewritten(bundle, **{LEXICON: b"a\nab\nzebra\n"})  # they may be some
    run("verify", bundle.folder)
    assert "1 of the words are unknown to the language model, zebra say" in capsys.readouterr().out
    rewritten(bundle, **{LEXICON: b"a\nyak\nzebra\n"})
    assert "does not know 2 of the 3 words" in refusal(capsys, "verify", bundle.folder)


def test_verify_runs_every_artefact(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only the one that is chosen here."""
    last = bundle.manifest.artefacts[-1]
    rewritten(bundle, **{last.file: b"no model"})
    assert f"{last.file} fails in litert: " in refusal(capsys, "verify", bundle.folder)


# ---- repack


def test_repacking_gives_the_same_bytes_again(bundle: Bundle, tmp_path: Path) -> None:
    first, again, unpacked, packed = (tmp_path / n for n in ("a.ds2", "b.ds2", "c", "d.ds2"))
    run("repack", bundle.folder, "-o", first)
    for path in bundle.folder.iterdir():
        path.touch()
    run("repack", bundle.folder, "-o", again)
    run("repack", first, "-o", unpacked)
    run("repack", unpacked, "-o", packed)
    assert first.read_bytes() == again.read_bytes() == packed.read_bytes()
    for path in bundle.folder.iterdir():
        assert path.read_bytes() == (unpacked / path.name).read_bytes()
    run("repack", packed, "-o", packed)  # in its own place
    assert first.read_bytes() == packed.read_bytes()


def test_repacking_an_older_bundle_makes_one_of_today(tmp_path: Path, cache: Path) -> None:
    run("repack", BUNDLES / "format-2.ds2", "-o", tmp_path / "new")
    assert json.loads((tmp_path / "new" / MANIFEST).read_text())["format"] == FORMAT
    assert load_bundle(tmp_path / "new").manifest == load_bundle(BUNDLES / "format-2.ds2").manifest


def test_repacking_can_drop_artefacts_and_rename(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = bundle.manifest.artefacts
    out = tmp_path / "small"
    run("repack", bundle.folder, "-o", out, "--formats", first.weights, "--name", "small")
    small = load_bundle(out)
    assert small.manifest.artefacts == (first,)
    assert not any((out / artefact.file).exists() for artefact in others)
    assert small.manifest.name == "small"
    assert (out / CARD).read_text().startswith("# small\n")
    Transcriber(small)
    message = refusal(capsys, "repack", bundle.folder, "-o", out, "--formats", "int4")
    assert "has no int4, only int8" in message


# ---- swap-lm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_language_model(tmp_path / "lm")


def test_another_language_model_brings_its_words_and_ends_old_figures(
    bundle: Bundle, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / LEXICON).write_text("a\nab\n")
    out = tmp_path / "out.ds2"
    run("swap-lm", bundle.folder, "-o", out, "--language-model", folder)
    assert "ds2edge tune" in capsys.readouterr().out
    swapped = load_bundle(out)
    assert swapped.words == ["a", "ab"]
    assert bundle.words == ["a", "ab", "all"]
    assert swapped.manifest.decoder == bundle.manifest.decoder
    assert swapped.manifest.confidence == {"letters": FITTED}
    for figures in ("accuracy", "parity"):
        before, after = (json.dumps(getattr(b.manifest, figures)) for b in (bundle, swapped))
        assert "language_model" in before
        assert "language_model" not in after
        assert "greedy" in after
    words = Transcriber(swapped).transcribe(RECORDINGS[0]).words
    assert {word.text for word in words} <= {"a", "ab"}


def test_the_card_says_once_what_was_changed(bundle: Bundle, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    run("swap-lm", bundle.folder, "-o", once, "--no-language-model")
    run("swap-lm", once, "-o", twice, "--beam", 7)
    card = (twice / CARD).read_text()
    assert card.startswith(f"# {bundle.manifest.name}\n\n{NOTE} The bundle now has no language")
    assert card.count(NOTE) == 1
    assert "beam 7," in card
    assert card.endswith((bundle.folder / CARD).read_text().partition("\n\n")[2])


def test_no_language_model_leaves_letters(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "letters"
    run("swap-lm", bundle.folder, "-o", out, "--no-language-model")
    swapped = load_bundle(out)
    assert (swapped.words, swapped.language_model) == (None, None)
    assert swapped.manifest.language_model == {}
    Transcriber(swapped)


def test_a_lexicon_is_taken_from_a_file(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, out = tmp_path / "words.txt", tmp_path / "few"
    words.write_text("all\n\n  a\r\n")
    run("swap-lm", bundle.folder, "-o", out, "--lexicon", words)
    assert load_bundle(out).words == ["all", "a"]
    assert load_bundle(out).manifest.language_model["words"] == 2
    assert load_bundle(out).language_model
    for content, named in (
        ("a\nab\nall\nzebra\n", "does not know 1 of the 4 words of the lexicon, zebra among them"),
        ("a\nab!\n", "ab!"),
        ("a\nab all\n", "line 2: needed one word a line, got 'ab all'"),
        ("a\nall\na\n", "line 3: 'a' stands there twice"),
        ("\n", "has no words"),
    ):
        words.write_text(content)
        before = (out / MANIFEST).read_bytes()
        message = refusal(capsys, "swap-lm", bundle.folder, "-o", out, "--lexicon", words)
        assert named in message
        assert (out / MANIFEST).read_bytes() == before
    assert "none.txt" in refusal(
        capsys, "swap-lm", bundle.folder, "-o", out, "--lexicon", tmp_path / "none.txt"
    )


def test_only_a_wider_beam_keeps_the_confidence(bundle: Bundle, tmp_path: Path) -> None:
    out, options = tmp_path / "out", bundle.manifest.decoder
    run("swap-lm", bundle.folder, "-o", out, "--beam", 9, "--max-ambiguity", 30)
    manifest = load_bundle(out).manifest
    assert manifest.decoder == replace(options, beam=9, max_ambiguity=30)
    assert manifest.confidence == bundle.manifest.confidence
    assert "language_model" not in manifest.accuracy["test"]
    run("swap-lm", bundle.folder, "-o", out, "--alpha", 0.25, "--beta=-1.5")
    manifest = load_bundle(out).manifest
    assert manifest.decoder == replace(options, alpha=0.25, beta=-1.5)
    assert manifest.confidence == {"letters": FITTED}
    assert load_bundle(out).words == bundle.words


def change_description(folder: Path, **changes: Any) -> None:
    path = folder / "language_model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_language_model_that_does_not_fit_is_refused(
    bundle: Bundle, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swap = ("swap-lm", bundle.folder, "-o", tmp_path / "out")
    assert "nothing to change" in refusal(capsys, *swap)
    assert "beam" in refusal(capsys, *swap, "--beam", 0)
    assert "is no language model" in refusal(capsys, *swap, "--language-model", tmp_path)
    (folder / LEXICON).write_text("yak\nzebra\n")
    assert "does not know 2 of the 2 words" in refusal(capsys, *swap, "--language-model", folder)
    change_description(folder, tokens=english_bigrams().digest)
    assert "another token set" in refusal(capsys, *swap, "--language-model", folder)
    (folder / "language_model.json").write_text("[]")
    assert "is no language model" in refusal(capsys, *swap, "--language-model", folder)
    assert not (tmp_path / "out").exists()


def test_a_model_of_characters_takes_no_lexicon(
    bundle: Bundle, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_description(folder, of="tokens")
    words = tmp_path / "words.txt"
    words.write_text("a\n")
    swap = ("swap-lm", bundle.folder, "-o", tmp_path / "out", "--lexicon", words)
    assert "takes no lexicon" in refusal(capsys, *swap, "--language-model", folder)


# ---- Output


@pytest.mark.parametrize("name", ["notes.ds2", "notes", "notes/of.ds2"])
@pytest.mark.parametrize("action", [("repack",), ("swap-lm", "--beam", "5")])
def test_what_is_no_bundle_is_not_replaced(
    name: str,
    action: tuple[str, ...],
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = tmp_path / "notes" / "of.ds2" if "/" in name or "." not in name else tmp_path / name
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"of mine")
    message = refusal(capsys, *action, bundle.folder, "-o", tmp_path / name)
    assert "is no bundle and would be lost" in message
    assert kept.read_bytes() == b"of mine"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("old", (shutil, "copyfile")),
        ("old.ds2", (shutil, "copyfile")),
        ("old.ds2", (zipfile.ZipFile, "writestr")),
    ],
)
def test_a_full_disk_leaves_what_was_there(
    name: str,
    call: tuple[Any, str],
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "here" / name
    run("repack", bundle.folder, "-o", out)
    before = contents(out)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*call, full)
    with pytest.raises(OSError, match="No space left on device"):
        repack(bundle, out, name="new")
    assert contents(out) == before
    assert [path.name for path in out.parent.iterdir()] == [name]


def contents(out: Path) -> dict[str, bytes]:
    files = sorted(out.iterdir()) if out.is_dir() else [out]
    return {path.name: path.read_bytes() for path in files}


def test_the_tools_need_no_tensorflow(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    arguments = ["swap-lm", str(bundle.folder), "-o", str(tmp_path / "a.ds2")]
    code = (
        "import sys; from ds2edge.cli import main\n"
        f"assert main(['bundle', *{arguments}, '--language-model', {str(folder)!r}]) == 0\n"
        f"assert main(['bundle', 'verify', {str(tmp_path / 'a.ds2')!r}]) == 0\n"
        "heavy = {'tensorflow', 'keras', 'ds2edge.training', 'ds2edge.convert'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("action", ["show", "verify", "repack", "swap-lm"])
def test_the_help_has_examples(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli(["bundle", action, "--help"])
    assert raised.value.code == 0
    assert f"examples:\n  ds2edge bundle {action} " in capsys.readouterr().out
