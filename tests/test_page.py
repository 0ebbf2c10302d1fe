"""The server's page in a real browser, which is spoken to."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import pytest
from browser import Browser, browser, share_found, speak_into
from conftest import SPEECH
from selenium.webdriver.common.keys import Keys
from served import served
from spoken_page import check_sent, check_text, hear_all, shown, start

from ds2edge import Transcriber
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.server import Server

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_fails")]
SPOKEN = (SPEECH / "LJ001-0011.opus", SPEECH / "2902-9008-0016.mp3")
MOST_WRONG = 0.25  # of the words: the browser's samples lie between those of the file


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speak_into(tmp_path_factory.mktemp("spoken") / "spoken.wav", SPOKEN)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


def test_words_appear_as_they_are_spoken(
    chromium: Browser, server: Server, transcriber: Transcriber, spoken: Path
) -> None:
    page = chromium
    page.speak(spoken)
    page.open(server.url)
    page.one("body").send_keys(Keys.TAB)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)  # on the first thing that takes it
    seen: list[tuple[str, str, float]] = []  # what stands firm, what may change, the level

    def two_segments_ended() -> bool:
        firm, loose = page.text(".open .word:not(.unstable)"), page.text(".open .unstable")
        level = page.run(
            "return document.getElementById('level').style.getPropertyValue('--level')"
        )
        seen.append((firm, loose, float(level or 0)))
        return len(page.all(".finals .segment")) >= 2

    page.wait(two_segments_ended)
    latency = page.text("#latency")
    hear_all(page, spoken)
    check_text(page, transcriber, spoken)
    assert jiwer.wer(transcriber.transcribe(spoken).text, " ".join(shown(page))) <= MOST_WRONG
    assert page.complaints() == []
    assert any(firm and loose for firm, loose, _ in seen)
    for (before, _, _), (after, _, _) in itertools.pairwise(seen):
        assert after.startswith(before) or not after.startswith(before.split()[0])  # a new segment
    levels = [level for _, _, level in seen]
    assert min(levels) < 0.2
    assert max(levels) > 0.6
    milliseconds = re.fullmatch(r"(\d+) ms", latency)
    assert milliseconds
    assert 0 < int(milliseconds[1]) < 10_000
    assert page.one("#speak").text == "Start"
    check_download(page)
    check_copy(page, server.url)


def check_download(page: Browser) -> None:
    page.one(".save").click()
    srt = page.downloaded("ds2edge-*.srt").read_text(encoding="utf-8")
    cues = re.findall(r"(\d+)\n([\d:,]+) --> ([\d:,]+)\n((?:.+\n)+)\n", srt)
    assert "".join(f"{n}\n{begin} --> {end}\n{text}\n" for n, begin, end, text in cues) == srt
    assert [int(number) for number, *_ in cues] == list(range(1, len(cues) + 1))
    times = [time for _, begin, end, _ in cues for time in (begin, end)]
    assert times == sorted(times)
    assert " ".join(text for *_, text in cues).split() == shown(page)


def check_copy(page: Browser, url: str) -> None:
    page.command("Browser.grantPermissions", permissions=["clipboardReadWrite"], origin=url)
    page.one(".copy").click()
    page.wait(lambda: page.one(".copy").text == "Copied")
    copied = page.run_async("navigator.clipboard.readText().then(arguments[0])")
    finals = page.conversations()[0].finals
    assert copied.splitlines() == [final["text"] for final in finals if final["words"]]


def test_only_what_is_final_is_read_out(chromium: Browser, server: Server) -> None:
    start(chromium, server.url)
    chromium.wait(lambda: chromium.text("#status"))
    live = "[aria-live], [role=log], [role=status], [role=alert], output"
    assert chromium.one(".finals").get_attribute("aria-live") == "polite"
    assert chromium.run(f"return document.querySelector('.open').closest('{live}')") is None
    assert chromium.text("#status") == "Recording"


def test_a_microphone(spoken: Path, server: Server, transcriber: Transcriber) -> None:
    """Chromium's skips where the machine is busy; but all that is sent was spoken."""
    with browser(spoken) as page:
        start(page, server.url)
        hear_all(page, spoken)
        sent, rate = check_sent(page, transcriber)
        assert len(sent) > rate
        assert np.abs(sent).max() > 3000
        assert share_found(sent, rate, spoken) > 0.3  # 0 for other speech
        assert shown(page)


def test_a_microphone_that_hears_nothing(tmp_path: Path, server: Server) -> None:
    quiet = tmp_path / "quiet.wav"
    speak_into(quiet, [])
    with browser(quiet) as page:
        start(page, server.url)
        page.wait(lambda: "muted" in page.text("#problem"))
        page.one("#speak").click()
        page.wait(lambda: not page.one("#problem").is_displayed())


def test_a_microphone_that_is_not_allowed(server: Server) -> None:
    with browser(allowed=False) as page:
        start(page, server.url)
        page.wait(lambda: page.one("#problem").is_displayed())
        assert "not allowed. Allow it" in page.text("#problem")
        assert page.one("#speak").text == "Start"
        assert page.one("#speak").is_enabled()


def test_an_address_that_is_not_secure(
    chromium: Browser, dispatcher: Dispatcher, transcriber: Transcriber
) -> None:
    """There is no microphone then, but files can be opened."""
    page = chromium
    with served(dispatcher, token="secret") as server:
        start(page, server.url.replace("127.0.0.1", "page.test"))
        page.wait(lambda: page.one("#problem").is_displayed())
        assert "https://, or on the server's own computer as http://localhost" in page.text(
            "#problem"
        )
        page.one("#files").send_keys(str(SPOKEN[0]))
        page.wait(lambda: page.one("#secret").is_displayed())
        page.one("#secret").send_keys("secret", Keys.ENTER)
        page.wait(lambda: page.text(".finals"))
    assert shown(page) == transcriber.transcribe(SPOKEN[0]).text.split()
