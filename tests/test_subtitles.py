"""Subtitles: every word once, in time, in lines that fit."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge.errors import ConfigError
from ds2edge.results import Final, Word
from ds2edge.subtitles import Cue, SubtitleLayout, cues, srt_cue, to_srt, to_vtt
from ds2edge.writing import cells, is_unspaced

TEXTS = (
    st.text(alphabet="abcxyz'<>&-,. \u00e9", max_size=12)
    | st.text(alphabet="今天气好\u3002 ab", max_size=30)
    | st.text(max_size=60)
)
GAPS = st.sampled_from([0.0, 0.0, 0.0, 0.0004, 0.02, 0.1, 0.31, 0.799, 0.8, 1.5, 9.0])
LAYOUTS = st.builds(
    SubtitleLayout,
    line_length=st.sampled_from([1, 5, 12, 42]),
    lines=st.sampled_from([1, 2, 3]),
    longest=st.sampled_from([1.0, 2.5, 7.0]),
    shortest=st.sampled_from([0.0, 0.5, 1.0]),
    pause=st.sampled_from([0.01, 0.8, math.inf]),
)


@st.composite
def segment_lists(draw: st.DrawFn) -> list[Final]:
    """Segments in the order of time; words crowd, have no length, or lie far apart."""
    segments, now = [], draw(st.sampled_from([0.0, 3599.9996, 360_000.0]))
    for number in range(draw(st.integers(0, 3))):
        begin, words = now, []
        for text, gap, length in draw(st.lists(st.tuples(TEXTS, GAPS, GAPS), max_size=25)):
            words.append(Word(text, now + gap, now + gap + length, 1.0))
            now += gap + length
        segments.append(Final(number, tuple(words), begin, now))
    return segments


def says(text: str, start: float = 0.0, each: float = 0.3) -> Final:
    """A segment of one word after the other, `each` seconds long."""
    words = tuple(
        Word(word, start + i * each, start + (i + 1) * each, 1.0)
        for i, word in enumerate(text.split())
    )
    return Final(0, words, start, start + each * len(words))


def parse(text: str, point: str) -> list[tuple[int, int, list[str]]]:
    """(start, end, lines) of each block, times in milliseconds."""
    time = r"(\d\d+):(\d\d):(\d\d)" + re.escape(point) + r"(\d\d\d)"
    found = []
    for block in text.split("\n\n"):
        lines = block.strip("\n").split("\n")
        at = next((i for i, line in enumerate(lines) if "-->" in line), None)
        if at is None:
            continue
        match = re.fullmatch(f"{time} --> {time}", lines[at])
        assert match, lines
        h, m, s, ms, *end = map(int, match.groups())
        start_ms = ((h * 60 + m) * 60 + s) * 1000 + ms
        end_ms = ((end[0] * 60 + end[1]) * 60 + end[2]) * 1000 + end[3]
        found.append((start_ms, end_ms, lines[at + 1 :]))
    return found


@given(segment_lists(), LAYOUTS)
def test_every_word_once_in_order_and_cut_only_if_longer_than_a_line(
    segments: list[Final], layout: SubtitleLayout
) -> None:
    said = [part for s in segments for w in s.words for part in w.text.split()]
    shown = [part for cue in cues(segments, layout) for line in cue.lines for part in line.split()]
    assert "".join(shown) == "".join(said)
    spaced = not any(map(is_unspaced, "".join(said)))
    if spaced and all(cells(part) <= layout.line_length for part in said):
        assert shown == said


@given(segment_lists(), LAYOUTS)
def test_lines_fit(segments: list[Final], layout: SubtitleLayout) -> None:
    for cue in cues(segments, layout):
        assert 1 <= len(cue.lines) <= layout.lines
        for line in cue.lines:
            assert line
            assert cells(line) <= layout.line_length or len(line) == 1  # wider than the line


@given(segment_lists(), LAYOUTS)
def test_times_never_overlap(segments: list[Final], layout: SubtitleLayout) -> None:
    end = 0.0
    for cue in cues(segments, layout):
        assert end <= cue.start < cue.end <= cue.start + layout.longest + 0.0005
        end = cue.end


@given(segment_lists(), LAYOUTS)
def test_no_cue_spans_two_segments(segments: list[Final], layout: SubtitleLayout) -> None:
    together = [cue.lines for cue in cues(segments, layout)]
    assert together == [cue.lines for s in segments for cue in cues([s], layout)]


@given(segment_lists(), LAYOUTS)
def test_live_cues_never_overlap(segments: list[Final], layout: SubtitleLayout) -> None:
    end = 0.0
    for segment in segments:
        for cue in cues([segment], layout, after=end):
            assert end <= cue.start < cue.end
            end = cue.end


@pytest.mark.parametrize(
    ("write", "point", "read"), [(to_srt, ",", str), (to_vtt, ".", html.unescape)]
)
@given(segments=segment_lists(), layout=LAYOUTS)
def test_output_is_read_back(
    write: Callable[[list[Final], SubtitleLayout], str],
    point: str,
    read: Callable[[str], str],
    segments: list[Final],
    layout: SubtitleLayout,
) -> None:
    wanted = [
        (round(c.start * 1000), round(c.end * 1000), list(c.lines)) for c in cues(segments, layout)
    ]
    if write is to_srt:
        wanted = [(s, e, [line.replace("-->", "\u2192") for line in ls]) for s, e, ls in wanted]
    found = parse(write(segments, layout), point)
    assert [(s, e, [read(line) for line in lines]) for s, e, lines in found] == wanted


def test_srt_as_printed() -> None:
    segments = [
        says("the birch canoe slid on the smooth planks and the sheet was glued", 1.0),
        says("yes", 100 * 3600.0),
    ]
    assert to_srt(segments) == (
        "1\n00:00:01,000 --> 00:00:04,900\n"
        "the birch canoe slid on the smooth planks\nand the sheet was glued\n\n"
        "2\n100:00:00,000 --> 100:00:01,000\nyes\n\n"
    )


def test_vtt_as_printed() -> None:
    assert to_vtt([says("a <b> & --> c", 0.5)]) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\na &lt;b&gt; &amp; --&gt; c\n"
    )


def test_srt_text_has_no_arrow() -> None:
    lines = srt_cue(7, Cue(0.0, 1.0, ("a ---> b", "-->"))).split("\n")
    assert lines == ["7", "00:00:00,000 --> 00:00:01,000", "a -\u2192 b", "\u2192", "", ""]


@pytest.mark.parametrize("segments", [[], [Final(0, (), 0.0, 1.0)], [says("")]])
def test_nothing_said(segments: list[Final]) -> None:
    assert (to_srt(segments), to_vtt(segments)) == ("", "WEBVTT\n")


def test_words_of_white_space_make_no_cue() -> None:
    assert cues([Final(0, (Word(" \n", 0.0, 1.0, 1.0),), 0.0, 1.0)]) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("one two three", ("one two three",)),
        # a balanced cut would be after "the":
        (
            "she had your dark suit in the greasy wash water all year",
            ("she had your dark suit", "in the greasy wash water all year"),
        ),
        (
            "well, it did not work the way that we had hoped",
            ("well, it did not work", "the way that we had hoped"),
        ),
        (
            "there was nothing else to do. we all went home",
            ("there was nothing else to do.", "we all went home"),
        ),
        ("aaaa bbbb cccc dddd eeee ffff gggg hhhh iiii", None),
    ],
)
def test_line_breaks(text: str, wanted: tuple[str, ...] | None) -> None:
    (cue,) = cues([says(text, each=0.2)])
    if wanted is None:  # nothing to choose by: balanced, the lower line longer
        upper, lower = map(len, cue.lines)
        assert upper <= lower <= upper + 5
    else:
        assert cue.lines == wanted


def test_a_pause_parts_two_cues_and_the_first_stays_on_until_the_second() -> None:
    words = (Word("no", 0.0, 0.1, 1.0), Word("yes", 0.95, 0.95, 1.0))
    assert cues([Final(0, words, 0.0, 1.0)]) == [
        Cue(0.0, 0.95, ("no",)),
        Cue(0.95, 1.95, ("yes",)),
    ]


def test_a_long_segment_is_parted_where_it_pauses() -> None:
    words = list(says(" ".join(["word"] * 24)).words)
    later = [Word(w.text, w.start + 0.5, w.end + 0.5, 1.0) for w in words[10:]]
    shown = cues([Final(0, (*words[:10], *later), 0.0, 8.0)])
    assert [sum(len(line.split()) for line in cue.lines) for cue in shown] == [10, 14]


def test_a_word_longer_than_a_line_is_cut_with_its_time() -> None:
    shown = cues([Final(0, (Word("abcdefgh", 1.0, 2.0, 1.0),), 1.0, 2.0)], SubtitleLayout(2, 2))
    assert shown == [Cue(1.0, 1.5, ("ab", "cd")), Cue(1.5, 2.5, ("ef", "gh"))]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"line_length": 0}, "line_length is 0"),
        ({"line_length": 4.5}, "line_length is 4.5"),
        ({"lines": -1}, "lines is -1"),
        ({"shortest": 8.0}, "shortest 8.0 and longest 7.0"),
        ({"shortest": -1.0}, "shortest -1.0"),
        ({"longest": math.inf}, "longest inf"),
        ({"longest": math.nan}, "longest nan"),
        ({"pause": 0.0}, "pause is 0.0 s"),
        ({"pause": math.nan}, "pause is nan s"),
    ],
)
def test_bad_layouts_are_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SubtitleLayout(**values)  # type: ignore[arg-type]


def test_time_grows_with_the_words_only() -> None:
    """An hour without a pause is laid out, not searched through."""
    (cue, *more) = cues([says(" ".join(["word"] * 12_000))])
    assert len(cue.lines) == 2
    assert len(more) > 500
