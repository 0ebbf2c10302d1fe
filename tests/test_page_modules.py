"""The modules of the server's page, each alone in a real browser."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from browser import Browser, browser, word, words

from ds2edge.results import Final, Word
from ds2edge.serving.server import Server
from ds2edge.subtitles import to_srt

pytestmark = pytest.mark.system
LONG = "donaudampfschifffahrtsgesellschaftskapitaensmuetzenknopfloch"
CHINESE = "\u6211\u4eec\u4eca\u5929\u5929\u6c14\u5f88\u597d"


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Browser]:
    with browser() as chromium:
        chromium.open(server.url)
        yield chromium


def text_of(page: Browser, segments: list[list[dict[str, Any]]]) -> str:
    return page.run_async(
        """
        import("./page/subtitles.js").then(({ srt }) =>
          arguments[1](srt(arguments[0].map((words) => ({ words })))));
        """,
        segments,
    )


def srt_of(
    page: Browser, segments: list[list[dict[str, Any]]]
) -> list[tuple[float, float, list[str]]]:
    """Start and end in seconds, and lines."""
    text, cues = text_of(page, segments), []
    for i, block in enumerate(text.removesuffix("\n\n").split("\n\n"), start=1):
        number, times, *lines = block.split("\n")
        assert number == str(i)
        begin, end = (seconds(time) for time in times.split(" --> "))
        cues.append((begin, end, lines))
    return cues


def seconds(time: str) -> float:
    hours, minutes, rest = re.fullmatch(r"(\d\d+):(\d\d):(\d\d,\d{3})", time).groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(rest.replace(",", "."))


def test_subtitles(page: Browser) -> None:
    long = [w for i in range(12) for w in words("and so it went on and on", 2.1 * i)]
    later = [word(LONG, 4000.5, 4001.0), word("-->", 4003.0)]
    chinese = [word(one, 5000 + 0.2 * i) for i, one in enumerate(CHINESE * 8)]
    cues = srt_of(page, [long, later, chinese])
    for begin, end, lines in cues:
        assert 0 < end - begin <= 7
        assert 1 <= len(lines) <= 2
        for line in lines:
            assert sum(2 if one > "\u2e80" else 1 for one in line) <= 42
    for (_, end, _), (begin, _, _) in itertools.pairwise(cues):
        assert end <= begin
    text = " ".join(line for begin, _, lines in cues for line in lines if begin < 4000)
    assert text.split() == [w["text"] for w in long]
    assert (
        "".join(line for begin, _, lines in cues for line in lines if begin > 4900) == CHINESE * 8
    )
    at_4000 = [cue for cue in cues if 4000 < cue[0] < 4900]
    assert "".join(at_4000[0][2]) == LONG
    assert at_4000[-1] == (4003.0, 4004.0, ["\u2192"])


VOCABULARY = (
    "the a door and open CNN maps hello, world. ok! --> e\u0301x \ud55c\uad6d \u5929\u6c14 \u7684 "
    f"\u4eca \u5929 \u5728 \u548c \u5f88 \u56e0\u4e3a \u53bb \u4e86 \u5317\u4eac\u5927\u5b66 {LONG}"
).split()


def test_subtitles_are_those_of_the_library(page: Browser) -> None:
    rng, takes = random.Random(1), []
    for _ in range(60):
        take, at = [], rng.choice([0.0, 4000.0])
        for _ in range(rng.randint(1, 50)):
            at = round(at + rng.choice([0.0, 0.0, 0.25, 1.0]), 2)
            end = round(at + rng.choice([0.12, 0.25, 3.0]), 2)
            take.append(word(rng.choice(VOCABULARY), at, end))
            at = end
        takes.append(take)
    for take in takes:
        final = Final(0, tuple(Word(**each) for each in take), take[0]["start"], take[-1]["end"])
        assert text_of(page, [take]) == to_srt([final])


def test_the_clock_knows_when_a_sample_was_captured(page: Browser) -> None:
    """Blocks come late by chance; the one that came soonest tells."""
    ages = page.run_async(
        """
        import("./page/clock.js").then(({ CaptureClock, Latency }) => {
          const clock = new CaptureClock(0.01), latency = new Latency(clock);
          for (let i = 1; i <= 50; i += 1) clock.note(0.04 * i, 5000 + 40 * i + (i * 7) % 13);
          latency.note([{ text: "a", end: 1.5 }], 6700);
          latency.note([{ text: "a", end: 1.5 }], 9000);
          const first = latency.median;
          latency.note([{ text: "a", end: 1.5 }, { text: "b", end: 1.9 }], 7200);
          latency.note([{ text: "a", end: 1.5 }, { text: "c", end: 2.0 }], 7150);
          arguments[0]([clock.age(1.0, 6100), first, latency.median]);
        });
        """
    )
    assert ages == pytest.approx([110, 210, 210])


def transcript(page: Browser, script: str) -> str:
    """The text after what a script does with transcript `t`; w(text, start) makes a word."""
    return page.run_async(
        f"""
        import("./page/transcript.js").then(({{ Transcript }}) => {{
          const t = new Transcript();
          const w = (text, start) => ({{ text, start, end: start + 0.5, confidence: 1 }});
          const partial = (...words) => t.add({{ type: "partial", words, stable_words: 0 }});
          const final = (start, end, ...words) => t.add({{ type: "final", words, start, end }});
          {script}
          arguments[0](t.text);
        }}).catch((error) => arguments[0](String(error)));
        """
    )


def test_words_are_kept_until_they_are_heard_again(page: Browser) -> None:
    heard = 'partial(w("a", 0), w("b", 1), w("c", 2));'
    assert transcript(page, f'{heard} partial(w("x", 0));') == "x"
    lost = f"{heard} t.interrupt();"
    assert transcript(page, lost) == "a b c"
    assert transcript(page, f'{lost} partial(w("x", 0));') == "a b c"
    assert transcript(page, f'{lost} partial(w("x", 0), w("y", 2.1));') == "x y"
    assert transcript(page, f'{lost} final(0, 1.8, w("x", 0), w("y", 1));') == "x y\nc"
    assert transcript(page, f"{lost} t.settle(); t.settle();") == "a b c"
    assert transcript(page, f"{heard} final(0, 4); t.settle();") == ""


# A stream whose server is this script: `socket` is the latest one, `time` the clock.
STREAM = """
const socket = () => FakeSocket.all.at(-1);
const done = arguments[0];
let time = 0, tick, events = [];
class FakeSocket {
  static all = [];
  sent = [];
  bufferedAmount = 0;
  constructor() { FakeSocket.all.push(this); }
  send(data) { this.sent.push(typeof data === "string" ? JSON.parse(data).type : [...data]); }
  close() { this.closed = true; }
  say(message) { this.onmessage({ data: JSON.stringify(message) }); }
}
const kept = [window.WebSocket, window.setInterval, performance.now];
[window.WebSocket, window.setInterval] = [FakeSocket, (call) => (tick = call)];
performance.now = () => time;
import("./page/stream.js").then(({ Stream }) => {
  const note = (name) => (what) => events.push([name, what?.message ?? what?.end]);
  const listener = Object.fromEntries(
    ["onReady", "onEvent", "onLost", "onEnd"].map((name) => [name, note(name)]),
  );
  const stream = new Stream(10, () => "", listener);
  const open = () => {
    socket().onopen();
    socket().say({ type: "ready" });
  };
  const push = (...samples) => stream.push(Int16Array.from(samples));
  const final = (end) => socket().say({ type: "final", words: [], start: 0, end });
  SCRIPT
  done([FakeSocket.all.map(({ sent }) => sent), events.filter(([name]) => name !== "onReady")]);
}).catch((error) => done(`${error}`)).finally(() => {
  [window.WebSocket, window.setInterval, performance.now] = kept;
});
"""


def streamed(page: Browser, script: str) -> tuple[list[Any], list[Any]]:
    """What went over each connection, and what the listener was told."""
    sent, events = page.run_async(STREAM.replace("SCRIPT", script))
    return sent, events


def test_what_is_no_text_yet_is_sent_again(page: Browser) -> None:
    sent, events = streamed(
        page,
        """
        stream.connect(); push(1, 2); open(); push(3, 4, 5); push(6);
        final(0.3);
        socket().onclose({ code: 1006, reason: "" }); push(7);
        stream.connect(); open(); push(8);
        final(0.2);
        stream.finish();
        socket().onclose({ code: 1006, reason: "" });
        stream.connect(); open(); final(0.3); socket().onclose({ code: 1000, reason: "" });
        """,
    )
    assert sent == [
        ["start", [1, 2], [3, 4, 5], [6]],
        ["start", [4, 5], [6], [7], [8], "finish"],
        ["start", [6], [7], [8], "finish"],
    ]
    lost = "onLost"
    assert [name for name, _ in events] == ["onEvent", lost, "onEvent", lost, "onEvent", "onEnd"]
    ends = [end for name, end in events if name == "onEvent"]
    assert ends == pytest.approx([0.3, 0.5, 0.8])  # from the start of the recording


def test_a_network_that_is_gone_without_a_word(page: Browser) -> None:
    begun = "stream.connect(); open(); push(1); tick();"
    stalled = f"{begun} push(2, 3); socket().bufferedAmount = 4; tick();"
    assert streamed(page, f"{stalled} time = 19000; tick();")[1] == []
    assert streamed(page, f"{begun} time = 90000; tick();")[1] == []  # there is nothing to say
    slow = "push(4, 5); socket().bufferedAmount = 6; tick();"  # two of eight bytes have left
    assert streamed(page, f"{stalled} time = 15000; {slow} time = 30000; tick();")[1] == []
    for script in (
        f"{stalled} time = 21000; tick();",
        f"{stalled} push(4, 5); socket().bufferedAmount = 8; time = 21000; tick();",
        "stream.connect(); time = 21000; tick();",
        f"{begun} stream.finish(); time = 21000; tick();",
    ):
        ((name, message),) = streamed(page, script)[1]
        assert name == "onLost"
        assert "connection is lost" in message
