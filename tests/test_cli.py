"""The `ds2edge` command: what it prints, where, and with which exit code.

A stand-in for the recogniser makes every answer known. Runs of the installed command are in
test_installed_command.py; how it ends before its end is in test_endings.py.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stand_in_recogniser import COMMAND, FakeOptions, FakeTranscriber

from ds2edge import cli, progress
from ds2edge.commands import info, transcribe

SPEECH = Path(__file__).parent / "data" / "speech"
RECORDING = str(SPEECH / "2428-83705-0017.mp3")
OTHER = str(SPEECH / "LJ001-0011.opus")


@pytest.fixture
def run(monkeypatch, capfd):
    """Calls the command; returns exit code, standard output and standard error."""
    monkeypatch.setattr(info, "Transcriber", FakeTranscriber)
    monkeypatch.setattr(transcribe, "Transcriber", FakeTranscriber)
    monkeypatch.setattr(transcribe, "StreamOptions", FakeOptions)

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return (code, *capfd.readouterr())

    return run


# ---- transcribe ----


def test_one_file_prints_its_text_alone(run):
    assert run("transcribe", RECORDING) == (0, "32 None True\n", "")


def test_several_files_print_a_line_each_in_order(run):
    expected = f"{OTHER}: 32 None True\n{RECORDING}: 32 None True\n"
    assert run("transcribe", OTHER, RECORDING) == (0, expected, "")


def test_json_is_a_line_for_each_file(run):
    code, out, err = run("transcribe", "--json", RECORDING, OTHER)
    first, second = map(json.loads, out.splitlines())
    assert (code, err) == (0, "")
    assert (first["file"], second["file"]) == (RECORDING, OTHER)
    assert first["duration"] == pytest.approx(4.99, abs=0.05)
    assert first["text"] == "32 None True"
    expected = {"text": "32", "start": 0.5, "end": 1.0, "confidence": 0.75}
    assert first["segments"][0]["words"][0] == expected


def test_a_folder_stands_for_its_recordings(run, tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.mp3", "deep/a.MP3", "notes.txt"):
        (tmp_path / name).write_bytes(Path(RECORDING).read_bytes())
    code, out, err = run("transcribe", tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{tmp_path}/b.mp3: 32 None True",
        f"{tmp_path}/deep/a.MP3: 32 None True",
    ]


def test_words_and_subtitles(run):
    assert run("transcribe", "--words", RECORDING)[1] == (
        "0.50\t1.00\t0.75\t32\n0.50\t1.00\t0.75\tNone\n0.50\t1.00\t0.75\tTrue\n"
    )
    assert run("transcribe", "--words", RECORDING, OTHER)[1].startswith(f"{RECORDING}\t0.50\t")
    assert "32 None True" in run("transcribe", "--srt", RECORDING)[1].splitlines()
    assert run("transcribe", "--vtt", RECORDING)[1].startswith("WEBVTT\n")
    code, out, err = run("transcribe", "--srt", RECORDING, OTHER)
    assert (code, out, err) == (2, "", "ds2edge: --srt of 2 files needs --output FOLDER\n")


def test_files_for_a_folder(run, tmp_path):
    same = tmp_path / "in" / Path(RECORDING).name
    same.parent.mkdir()
    same.write_bytes(Path(RECORDING).read_bytes())
    code, out, err = run("transcribe", "--srt", "--output", tmp_path / "out", RECORDING, same)
    assert (code, out, err) == (0, "", "")
    stem = Path(RECORDING).stem
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{stem}-2.srt", f"{stem}.srt"]


def test_a_recording_is_never_overwritten(run, tmp_path):
    recording = tmp_path / "talk.txt"
    recording.write_bytes(Path(RECORDING).read_bytes())
    code, out, err = run("transcribe", "--output", tmp_path, OTHER, recording)
    expected = f"ds2edge: {recording} is a recording; choose another folder for --output\n"
    assert (code, out, err) == (2, "", expected)
    assert [path.name for path in tmp_path.iterdir()] == ["talk.txt"]
    assert recording.read_bytes() == Path(RECORDING).read_bytes()


@pytest.mark.parametrize("folder", ["/proc", "/proc/nowhere", RECORDING, "/dev/null/x"])
def test_a_folder_that_cannot_be_written_to_costs_no_work(run, folder, monkeypatch):
    monkeypatch.setattr(FakeTranscriber, "events", None)
    code, out, err = run("transcribe", "--output", folder, RECORDING)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"ds2edge: cannot write to --output {folder}: ")


def test_display_text(run):
    assert run("transcribe", "--display", RECORDING)[1] == "32 None True\n"
    facts = json.loads(run("transcribe", "--display", "--json", RECORDING)[1])
    assert facts["display"] == facts["segments"][0]["display"] == "32 None True"


def test_options_become_flags(run):
    flags = ("--beam", "8", "--alpha", "-0.5", "--no-language-model")
    assert run("transcribe", *flags, RECORDING) == (0, "8 -0.5 False\n", "")


def test_an_impossible_option(run):
    expected = "ds2edge: beam must be at least 1, got 0\n"
    assert run("transcribe", "--beam", "0", RECORDING) == (2, "", expected)


def test_names_that_are_not_utf8(run, tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.mp3")
    path.write_bytes(Path(RECORDING).read_bytes())
    code, out, err = run("transcribe", "--json", path)
    assert (code, err) == (0, "")
    assert json.loads(out)["file"] == str(path)


def truncated_flac(path: Path) -> None:
    soundfile.write(path, np.sin(np.arange(48_000)), 16_000, format="FLAC")
    path.write_bytes(path.read_bytes()[:20_000])


BAD_FILES = {
    "missing.wav": (lambda path: None, "No such file"),
    "folder.wav": (Path.mkdir, "is a folder without recordings"),
    "empty.wav": (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
    "text.wav": (lambda path: path.write_text("hello\n" * 99), "not a readable recording"),
    "cut.flac": (truncated_flac, "damaged or cut short"),
    "none.wav": (lambda path: soundfile.write(path, np.zeros(0), 16_000), "has 0 samples"),
    "nan.wav": (
        lambda path: soundfile.write(path, np.full(99, np.nan), 16_000, subtype="FLOAT"),
        "finite numbers, got nan",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line_and_exit_code_2(run, tmp_path, name):
    make, message = BAD_FILES[name]
    make(tmp_path / name)
    code, out, err = run("transcribe", tmp_path / name)
    assert (code, out) == (2, "")
    assert err.startswith("ds2edge: ")
    assert str(tmp_path / name) in err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_among_others_is_exit_code_1(run, tmp_path, name):
    make, message = BAD_FILES[name]
    make(tmp_path / name)
    code, out, err = run("transcribe", RECORDING, tmp_path / name, OTHER)
    assert code == 1
    assert out == f"{RECORDING}: 32 None True\n{OTHER}: 32 None True\n"
    assert message in err
    assert err.count("\n") == 1


def test_only_bad_files_is_exit_code_2(run, tmp_path):
    code, out, err = run("transcribe", tmp_path / "a", tmp_path / "b")
    assert (code, out, err.count("\n")) == (2, "", 2)


def test_a_bad_bundle(run):
    code, out, err = run("transcribe", "--bundle", "nowhere", RECORDING)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("ds2edge: no bundle 'nowhere'")


# ---- the other commands ----


def test_info(run):
    code, out, err = run("info")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    expected = [["bundle", "en"], ["sample", "rate", "16000"], ["accuracy"], ["test"]]
    assert lines == [*expected, ["wer", "0.25"]]


def test_info_json(run):
    assert json.loads(run("info", "--json")[1]) == FakeTranscriber().info()


@pytest.mark.parametrize(
    "command", ["", "transcribe", "mic", "devices", "info", "bench", "completion"]
)
def test_help_fits_a_terminal_and_has_examples_and_exit_codes(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert "examples:" in out or "to install it:" in out
    assert "exit codes:" in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_tells_the_options_and_their_defaults(run):
    out = " ".join(run("transcribe", "--help")[1].split())
    assert "--beam N hypotheses kept, 100% of them [32]" in out
    assert "--alpha X weight of the language model [the bundle's own]" in out
    assert "--language-model, --no-language-model use the language model [on]" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["listen"], "invalid choice: 'listen'"),
        (["transcribe"], "required: FILE"),
        (["transcribe", "--jso", RECORDING], "unrecognized arguments: --jso"),
        (["transcribe", "--beam", "many", RECORDING], "invalid int value: 'many'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("ds2edge: ")
    assert message in err


def stand_in(monkeypatch, main) -> None:
    """Let `ds2edge train` call `main`."""
    module = types.ModuleType("stand_in_for_training")
    module.main = main
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.EXTRA_COMMANDS, "train", (f"{module.__name__}:main", ""))


def test_extra_commands_get_the_remaining_arguments(run, monkeypatch):
    got = []
    stand_in(monkeypatch, lambda arguments: got.append(arguments) or 7)
    assert run("train", "config.toml", "--help", "--bundle", "x") == (7, "", "")
    assert got == [["config.toml", "--help", "--bundle", "x"]]


def test_a_missing_extra_names_the_remedy(run, monkeypatch):
    def needs_keras(arguments):
        import keras  # noqa: F401

    monkeypatch.setitem(sys.modules, "keras", None)  # makes an import of it fail
    stand_in(monkeypatch, needs_keras)
    expected = "ds2edge: `ds2edge train` needs the package keras: pip install 'ds2edge[train]'\n"
    assert run("train") == (2, "", expected)


# ---- a process of its own ----


def test_training_without_tensorflow_names_the_remedy():
    program = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
from ds2edge import cli, progress
sys.exit(cli.main(["train", "--help"]))
"""
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(": pip install 'ds2edge[train]'\n")
    assert done.stderr.count("\n") == 1


def on_a_terminal(*arguments: str) -> tuple[bytes, bytes]:
    """Standard output, a pipe, and standard error, a terminal."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "FAKE_DELAY": "0.03", "TERM": "xterm"},
    )
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    out, _ = process.communicate()
    assert process.returncode == 0
    return out, shown


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_several_files_have_a_progress_bar_on_a_terminal(jobs):
    out, shown = on_a_terminal("transcribe", "--jobs", jobs, RECORDING, OTHER, RECORDING)
    assert b"transcribing" in shown
    assert b"left" in shown
    assert b"100%" in shown
    assert out.decode().count("32 None True\n") == 3
    assert b"32 None" not in shown


def test_a_long_file_has_a_progress_bar_and_a_short_one_none(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(25 * 8_000), 8_000)
    assert b"transcribing" in on_a_terminal("transcribe", str(path))[1]
    assert on_a_terminal("transcribe", RECORDING)[1] == b""


class Counted:
    """Stands in for a progress bar."""

    def add_task(self, doing, total):
        self.total, self.done = total, 0.0

    def advance(self, task, seconds):
        self.done += seconds


def test_no_file_counts_for_more_or_less_than_its_length(monkeypatch):
    counted = Counted()
    monkeypatch.setattr(progress, "redraws", lambda file: True)
    monkeypatch.setattr(progress, "_bar", lambda *_, **__: counted)
    bar = progress.SecondsBar([2.0, 3.0, 1.0], "transcribing")
    seen = []
    for number, seconds in ((0, 1.5), (1, 1.0), (0, 1.0)):  # the header promised less
        bar.report(number, seconds)
        seen.append(counted.done)
    for number in (0, 1, 2):  # of the second the header promised more, the third failed
        bar.done(number)
        seen.append(counted.done)
    assert counted.total == 6.0
    assert seen == [1.5, 2.5, 3.0, 3.0, 5.0, 6.0]
