"""The page on Mandarin and other languages, and its benchmarks: what they show works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from test_readme import blocks_of

from ds2edge.cli import main as cli
from ds2edge.text import normalise
from ds2edge.token_files import read_tokens
from ds2edge.training.config import load_config
from ds2edge.training.network.model import token_set

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "mandarin.md").read_text(encoding="utf-8")
COMMANDS = [
    line for _, code in blocks_of(PAGE) for line in code.splitlines() if line.startswith("ds2edge ")
]
GERMAN = "Der Bär läuft über die Straße.\nWie geht's, Übermut?\n"
CHINESE = "今天是2023年3月5日。我们看新闻，涨了3.5%。\n".replace("，", "\uff0c")  # noqa: RUF001


def run_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *begins: str) -> None:
    """The page's commands that begin with these, in their order."""
    monkeypatch.chdir(folder)
    for begin in begins:
        (command, *_) = [line for line in COMMANDS if line.startswith(f"ds2edge {begin}")]
        assert cli(shlex.split(command)[1:]) == 0, command


def test_a_third_language_begins_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "buecher.txt").write_text(GERMAN, encoding="utf-8")
    run_in(tmp_path, monkeypatch, "data text buecher", "data tokens de")
    tokens = read_tokens(tmp_path / "de.tokens")
    assert {" ", "'", "ä", "ü", "ß"} <= set(tokens.tokens)
    assert normalise(GERMAN, tokens) == "der bär läuft über die straße wie geht's übermut"
    (code,) = [c for language, c in blocks_of(PAGE) if language == "toml" and "de.tokens" in c]
    (tmp_path / "de.toml").write_text(code)
    assert token_set(load_config(tmp_path / "de.toml").model) == tokens


def test_text_and_tokens_of_mandarin_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opencc")
    (tmp_path / "novels.txt").write_text(CHINESE, encoding="utf-8")
    (tmp_path / "old.txt").write_bytes(CHINESE.encode("gb18030"))
    words = tmp_path / "speech" / "mandarin-words"
    words.mkdir(parents=True)
    (words / "manifest.tsv").write_text(
        "path\tseconds\ttext\tspeaker\tsplit\na.wav\t1\t今天\tx\ttrain\n", encoding="utf-8"
    )
    run_in(tmp_path, monkeypatch, "data text novels", "data text old", "data tokens zh")
    said = (tmp_path / "zh.txt").read_text(encoding="utf-8")
    assert said == (tmp_path / "more.txt").read_text(encoding="utf-8")
    assert "二零二三年三月五日" in said
    assert "百分之三点五" in said
    assert read_tokens(tmp_path / "zh.tokens").space is None


def test_options_of_the_page_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) > 12
    for command in COMMANDS:
        _, name, *rest = shlex.split(command)
        with pytest.raises(SystemExit, match="0"):
            cli([name, *(rest[:1] if name == "data" else []), "--help"])
        assert unknown_flags(command, capsys.readouterr().out) == []


def test_options_of_the_pages_benchmarks_exist() -> None:
    code = "".join(code.replace("\\\n", "") for _, code in blocks_of(PAGE))
    commands = [line for line in code.splitlines() if line.startswith("python benchmarks/")]
    assert len(commands) == 3
    for command in commands:
        script = ROOT / shlex.split(command)[1]
        done = subprocess.run([sys.executable, script, "--help"], capture_output=True)
        assert done.returncode == 0
        assert unknown_flags(command, done.stdout.decode()) == []


def unknown_flags(command: str, shown: str) -> list[str]:
    flags = re.findall(r"(?<=\s)--[\w-]+", command)
    return [flag for flag in flags if not re.search(rf"{flag}(?![\w-])", shown)]


def test_plan_of_the_learning_curve(benchmark_scripts: None) -> None:
    rows = import_module("hours_rows")
    plan = rows.read_hours(ROOT / "benchmarks" / "hours-zh.toml")
    assert token_set(plan.base.model).space is None
    assert plan.shares[-1] == 1.0
    recipe = load_config("zh-first")
    assert plan.base.model == recipe.model
    named = {corpus.folder for corpus in recipe.data.train}
    assert {corpus.folder for corpus in plan.base.data.train} == named


def test_the_second_stage_only_keeps_the_first_steps_silent() -> None:
    first, second = load_config("zh-first"), load_config("zh")
    assert second.model.silent > first.model.silent == 0
    assert replace(second.model, silent=0) == first.model
    assert (second.features, second.data.train) == (first.features, first.data.train)


def test_the_output_layer_is_measured(
    benchmark_scripts: None, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = import_module("output_layer")
    command = ["--config", "tiny", "--tokens", "2000", "--bottlenecks"]
    benchmark.main([*command, "--rounds", "2", "--repeats", "2"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[-2:]] == [["29", "-"], ["2,000", "-"]]
    assert float(rows[-1][-1]) > float(rows[-2][-1])  # megabytes
    narrow = benchmark.Layer(2000, 8).of(load_config("tiny").model)
    assert (len(token_set(narrow)), narrow.connected) == (2000, 8)


def test_what_pruning_costs_is_measured(tmp_path: Path) -> None:
    text = tmp_path / "zh.txt"
    rows = (chr(0x4E00 + (7 * i) % 300 + j) for i in range(60) for j in range(12))
    text.write_text("\n".join(map("".join, zip(*[rows] * 12, strict=True))), encoding="utf-8")
    script = ROOT / "benchmarks" / "decoder_pruning.py"
    command = [sys.executable, "-P", str(script), "--characters", str(text), "--core", "0"]
    command += ["--seconds", "5", "--tune-seconds", "3", "--beam", "8", "--tools", str(tmp_path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join([str(script.parent), *sys.path])},
    )
    assert re.search(r"^none +\d+\.\d{3} ", done.stdout, re.M)
    assert re.search(r"^0\.99, 40: the paper's +\d+\.\d{3} +[+-]\d", done.stdout, re.M)
    assert "are few: 5,000 or more" in done.stdout
