"""The server's page loses nothing: with a connection, without a token, beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser, speak_into
from conftest import SPEECH
from selenium.webdriver.common.keys import Keys
from served import served
from spoken_page import check_text, hear_all, start

from ds2edge import Transcriber
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.limits import ServerOptions
from ds2edge.serving.server import Server

# The words that the first connection told: of every final, and of the partial that none followed.
TOLD = """
const said = sockets[0].said.map((text) => JSON.parse(text)).filter(({ words }) => words);
return said
  .filter(({ type }, place) => type === "final" || place === said.length - 1)
  .flatMap(({ words }) => words.map(({ text }) => text));
"""

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_fails")]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spoken") / "spoken.wav"
    return speak_into(path, [SPEECH / "LJ001-0011.opus"])


@pytest.fixture(scope="module")
def chromium(spoken: Path) -> Iterator[Browser]:
    with browser() as chromium:
        chromium.speak(spoken)
        yield chromium


@pytest.mark.parametrize("how", ["cut off", "server stops"])
def test_nothing_is_lost_with_the_connection(
    how: str, chromium: Browser, dispatcher: Dispatcher, transcriber: Transcriber, spoken: Path
) -> None:
    page = chromium
    with served(dispatcher) as first:
        port = int(first.url.rpartition(":")[2])
        start(page, first.url)
        page.wait(lambda: len(page.text(".open").split()) >= 3)
        if how == "cut off":
            page.run("sockets[0].close()")
            page.wait(lambda: page.text(".what"))
    page.wait(lambda: page.text(".what"))
    told = page.run(TOLD)
    assert page.text(".segment").split() == told
    assert len(told) >= 3
    assert "connect" in page.text(".what")
    elapsed = page.text("#elapsed")
    page.wait(lambda: page.text("#elapsed") > elapsed)  # it goes on to record
    page.one(".remedy").click()  # nobody is there
    page.wait(lambda: page.one(".remedy").is_displayed())
    assert page.text(".segment").split() == told
    with Server(dispatcher, ServerOptions(port=port)):
        page.one(".remedy").click()
        page.wait(lambda: not page.one(".remedy").is_displayed())
        hear_all(page, spoken)
    assert len(page.conversations()) == 2
    check_text(page, transcriber, spoken)


def test_a_recording_longer_than_the_server_allows(
    chromium: Browser, dispatcher: Dispatcher, transcriber: Transcriber, spoken: Path
) -> None:
    with served(dispatcher, longest_recording=2.5) as server:
        start(chromium, server.url)
        chromium.wait(lambda: chromium.run("return sockets.length") >= 3)
        hear_all(chromium, spoken)
    assert len(chromium.conversations()) >= 3
    check_text(chromium, transcriber, spoken)
    assert chromium.text(".what") == ""


def test_the_token_is_asked_for_and_nothing_is_lost_meanwhile(
    chromium: Browser, dispatcher: Dispatcher, transcriber: Transcriber, spoken: Path
) -> None:
    page = chromium
    with served(dispatcher, token="p\u00e4ss w\u00f6rd") as server:
        start(page, server.url)
        page.wait(lambda: page.one("#secret").is_displayed())
        assert page.driver.switch_to.active_element == page.one("#secret")
        page.one("#secret").send_keys("wrong", Keys.ENTER)
        page.wait(lambda: page.run("return sockets.length") == 2)
        page.wait(lambda: page.one("#secret").is_displayed())
        assert "That is not" in page.text("[for=secret]")
        page.one("#secret").send_keys("p\u00e4ss w\u00f6rd", Keys.ENTER)
        hear_all(page, spoken)
        assert not page.one("#secret").is_displayed()
    assert [len(talk.samples) for talk in page.conversations()[:2]] == [0, 0]
    check_text(page, transcriber, spoken)
