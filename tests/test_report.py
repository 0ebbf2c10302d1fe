"""The HTML page of an evaluation: whole, valid, escaped, and with what it promises."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from conftest import SPEECH
from html_page import Page

from ds2edge import Bundle, cli
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.evaluation import report
from ds2edge.training.evaluation.bootstrap import Bootstrap
from ds2edge.training.evaluation.charts import histogram_chart, length_chart, speaker_chart
from ds2edge.training.evaluation.recognised import (
    Evaluation,
    ModelFacts,
    Recognised,
    all_figures,
    score,
)

NASTY = "<script>alert(1)</script> & \"quotes\" 'too'"


@pytest.fixture
def evaluation() -> Evaluation:
    """The recordings of the tests, and what somebody might have heard."""
    utterances = read_manifest(SPEECH / "manifest.tsv")
    return Evaluation(
        ModelFacts("tiny & small", "abcdef0123456789abcdef", {"beam": 8, "alpha": 0.5}),
        tuple(
            Recognised(
                f"speech {u.split}",
                u.path.name,
                u.speaker,
                u.split,
                u.seconds,
                u.text,
                {"greedy": " ".join(u.text.split()[i:]) + " extra" * i},
            )
            for i, u in enumerate(utterances)
        ),
    )


def page(evaluation: Evaluation, path: Path) -> Page:
    scores = score(evaluation.utterances)
    figures = all_figures(scores, Bootstrap(samples=200))
    recordings = [SPEECH / one.path for one in evaluation.utterances]
    report.write_report(path, evaluation, scores, figures, recordings)
    return Page(path.read_text(encoding="utf-8"))


def test_page_stands_alone_and_is_accessible(evaluation: Evaluation, tmp_path: Path) -> None:
    found = page(evaluation, tmp_path / "report.html")
    found.assert_stands_alone((tmp_path / "report.html").read_text())
    assert "Evaluation of tiny & small" in found.text
    assert len(found.all("table")) == 3


def test_page_has_the_figures(evaluation: Evaluation, tmp_path: Path) -> None:
    found = page(evaluation, tmp_path / "report.html")
    figures = all_figures(score(evaluation.utterances), Bootstrap(samples=200))
    low, high = figures["all"]["greedy"]["wer_interval"]
    assert f"{figures['all']['greedy']['wer']:.2f} ({low:.1f}-{high:.1f})" in found.text
    for name in ("speech test", "speech train: kathleen", "speech test: 84"):
        assert name in found.text
    # Two tables of rates and that of all utterances: a row and the head each.
    assert len(found.all("tr")) == (1 + 3) + (1 + 5) + (1 + 5)
    assert "alpha 0.5" in found.text


def test_columns_sort_by_their_values(evaluation: Evaluation, tmp_path: Path) -> None:
    found = page(evaluation, tmp_path / "report.html")
    buttons = [tag for tag, _ in found.elements].count("button")
    assert buttons == sum(head["scope"] == "col" for head in found.all("th"))
    for cell in found.all("td"):
        if cell.get("class") == "number":
            float(cell["data-value"])


def test_alignment_is_marked_by_element_not_by_colour_alone(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    found = page(evaluation, tmp_path / "report.html")
    articles = [tag for tag, _ in found.elements].count("article")
    assert articles == 4  # the first utterance is right
    assert "8 errors in 15 words" in found.text  # four lost, four too many
    html = (tmp_path / "report.html").read_text()
    assert "<del>it is of the</del>" in html
    assert "<ins>extra extra extra extra</ins>" in html


def test_errors_in_characters_are_told_as_such(evaluation: Evaluation, tmp_path: Path) -> None:
    first = replace(evaluation.utterances[0], wanted="今天天气", said={"greedy": "今天"})
    chinese = replace(evaluation, utterances=(first, *evaluation.utterances[1:]))
    assert "2 errors in 4 characters" in page(chinese, tmp_path / "report.html").text


def test_recordings_play(evaluation: Evaluation, tmp_path: Path) -> None:
    found = page(evaluation, tmp_path / "report.html")
    first = found.all("audio")[0]
    assert "controls" in first
    start, encoded = first["src"].split(",")
    assert start == "data:audio/mpeg;base64"
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert rate == 16_000
    assert len(samples) / rate == pytest.approx(4.512, abs=0.1)  # LJ001-0011
    assert np.abs(samples).max() > 0.05
    assert (tmp_path / "report.html").stat().st_size < 400_000


def test_what_is_too_much_audio_for_a_page_is_linked(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [sound["src"] for sound in page(evaluation, tmp_path / "whole.html").all("audio")]
    monkeypatch.setattr(report, "LARGEST_AUDIO", len(whole[0]) + 10)
    folder = tmp_path / "a folder"
    folder.mkdir()
    links = [sound["src"] for sound in page(evaluation, folder / "report.html").all("audio")]
    assert links[0] == whole[0]
    for link in links[1:]:
        assert (folder / unquote(link)).is_file()
        assert " " not in link


def test_everything_is_escaped(evaluation: Evaluation, tmp_path: Path) -> None:
    bad = replace(
        evaluation.utterances[1], wanted=NASTY, speaker=NASTY, set=NASTY, said={"greedy": NASTY * 2}
    )
    found = page(
        Evaluation(
            ModelFacts(NASTY, "0", {}), (evaluation.utterances[0], bad, *evaluation.utterances[2:])
        ),
        tmp_path / "report.html",
    )
    assert len(found.all("script")) == 1
    assert "alert(1)" in found.text
    assert "<script>alert" not in (tmp_path / "report.html").read_text()


def test_without_an_error_there_is_no_worst_utterance(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    right = tuple(replace(one, said={"greedy": one.wanted}) for one in evaluation.utterances)
    found = page(replace(evaluation, utterances=right), tmp_path / "report.html")
    assert "No utterance has an error." in found.text
    assert found.all("audio") == []


def test_one_utterance_of_silence_makes_a_page(evaluation: Evaluation, tmp_path: Path) -> None:
    silent = replace(evaluation.utterances[0], wanted="", said={"greedy": "noise"}, speaker="")
    found = page(replace(evaluation, utterances=(silent,)), tmp_path / "report.html")
    assert "speaker unknown" in found.text
    assert "1 error in 0 words" in found.text


def test_plots_are_drawings_with_text_and_always_the_same(evaluation: Evaluation) -> None:
    scores = score(evaluation.utterances)
    figures = all_figures(scores, Bootstrap(samples=200))
    seconds = np.array([one.seconds for one in evaluation.utterances])
    for draw, expected in (
        (lambda: length_chart(scores, "greedy", seconds), "length, seconds"),
        (lambda: speaker_chart(figures["speakers"], "greedy"), "speech train: lj"),
        (lambda: histogram_chart(scores, "greedy"), "utterances"),
    ):
        uri = draw()
        assert uri == draw()
        start, encoded = uri.split(",")
        assert start == "data:image/svg+xml;base64"
        drawing = ElementTree.fromstring(base64.b64decode(encoded))
        assert drawing.tag.endswith("svg")
        assert expected in " ".join(drawing.itertext())


def test_command_writes_it(tiny_bundle: Bundle, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "report.html"
    options = ["--split", "train", "--bundle", str(tiny_bundle.folder), "--report", str(path)]
    assert cli.main(["evaluate", str(SPEECH / "manifest.tsv"), *options]) == 0
    found = Page(path.read_text(encoding="utf-8"))
    assert len(found.all("audio")) == 2
    assert "letters, by search: WER %" in found.text
