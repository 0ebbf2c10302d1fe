"""Parts of the server's page in a real browser: files, small screens, Chinese, and its modules."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest
from browser import Browser, browser, word, words
from conftest import SPEECH
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from served import served

from ds2edge import Transcriber
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.server import Server

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("nothing_fails")]
FIRST, SECOND = SPEECH / "2902-9008-0016.mp3", SPEECH / "arctic_a0011_1592748364.opus"
# A file falls onto the page, as from the desktop.
DROP = """
const bytes = Uint8Array.from(atob(arguments[1]), (each) => each.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], arguments[0]));
for (const type of ["dragover", "drop"]) {
  const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
  document.querySelector("main").dispatchEvent(event);
}
"""
# A take of words, the last segment still open, and whatever else there may be.
FILL = """
const [finals, open, done] = arguments;
import("./page/take.js").then(({ Take }) => {
  const take = new Take("Microphone, 17:20", "name", () => {}, true);
  document.getElementById("takes").prepend(take.element);
  for (const words of finals) {
    take.transcript.add({ type: "final", words, start: words[0].start, end: words.at(-1).end });
  }
  take.transcript.add({ type: "partial", words: open, stable_words: 1 });
  take.report({ message: "The connection is lost. ".repeat(9), remedy: "Reconnect" });
  take.progress("Sending", 0.5, () => {});
  take.show();
  for (const id of ["token", "readings", "problem"]) document.getElementById(id).hidden = false;
  document.getElementById("problem").textContent = "There is no microphone. ".repeat(9);
  done(take.transcript.text);
}, (error) => done(String(error)));
"""
# Left, right and height of all that a finger is to meet.
BOXES = """
const elements = [...document.querySelectorAll("button, .button, .token input")];
const boxes = elements.map((element) => element.getBoundingClientRect());
return boxes.filter(({ width }) => width).map(({ left, right, height }) => [left, right, height]);
"""
# Red, green and blue of the letters of an element, and of what is behind them.
COLOURS = """
const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => a * c + (1 - a) * below[i]);
const element = document.querySelector(arguments[0]);
const layers = [];
for (let each = element; each; each = each.parentElement) {
  layers.unshift(parse(getComputedStyle(each).backgroundColor));
}
const behind = layers.reduce((below, one) => over(one, below), [255, 255, 255]);
return [parse(getComputedStyle(element).color), behind];
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


@pytest.fixture
def page(chromium: Browser, server: Server) -> Browser:
    chromium.open(server.url)
    return chromium


def drop(page: Browser, name: str, data: bytes) -> None:
    page.run(DROP, name, base64.b64encode(data).decode())


def shown(page: Browser, take: int = 1) -> str:
    page.wait(lambda: page.text(f".take:nth-of-type({take}) .finals"))
    return page.text(f".take:nth-of-type({take}) .finals .segment")


# Files


def test_a_file_is_dropped(page: Browser, transcriber: Transcriber) -> None:
    drop(page, "let him enter.mp3", FIRST.read_bytes())
    said = transcriber.transcribe(FIRST)
    assert shown(page) == said.text
    assert page.text(".take h2") == "let him enter.mp3"
    assert not page.one(".progress").is_displayed()
    page.one(".save").click()
    srt = page.downloaded("let him enter.srt").read_text(encoding="utf-8")
    assert " ".join(re.findall(r"^\D+$", srt, re.MULTILINE)).split() == said.text.split()
    first = round(1000 * said.words[0].start)
    assert srt.startswith(f"1\n00:00:0{first // 1000},{first % 1000:03} --> 00:00:0")
    assert page.complaints() == []


def test_files_are_opened_and_the_newest_comes_first(
    page: Browser, transcriber: Transcriber
) -> None:
    page.one("#files").send_keys(f"{FIRST}\n{SECOND}")
    assert shown(page, 2) == transcriber.transcribe(FIRST).text
    assert shown(page, 1) == transcriber.transcribe(SECOND).text


def test_a_file_that_is_no_recording(page: Browser) -> None:
    drop(page, "notes.wav", b"milk, bread")
    page.wait(lambda: page.text(".what"))
    assert page.text(".what").startswith("The server says: ")
    assert not page.one(".remedy").is_displayed()
    assert not page.one(".progress").is_displayed()
    drop(page, "let him enter.mp3", FIRST.read_bytes())  # those after it come all the same
    assert shown(page)


def test_a_file_needs_the_token(
    chromium: Browser, dispatcher: Dispatcher, transcriber: Transcriber
) -> None:
    with served(dispatcher, token="secret") as server:
        chromium.open(server.url)
        drop(chromium, "let him enter.mp3", FIRST.read_bytes())
        for token in ("wrong", "secret"):
            chromium.wait(lambda: chromium.one("#secret").is_displayed())
            chromium.one("#secret").send_keys(token, Keys.ENTER)
        assert shown(chromium) == transcriber.transcribe(FIRST).text


def test_a_server_that_is_gone(chromium: Browser, dispatcher: Dispatcher) -> None:
    with served(dispatcher) as server:
        chromium.open(server.url)
    drop(chromium, "let him enter.mp3", FIRST.read_bytes())
    chromium.wait(lambda: chromium.text(".what"))
    assert "Look whether the server runs" in chromium.text(".what")
    assert chromium.one(".remedy").text == "Try again"


def test_a_file_is_cancelled(page: Browser) -> None:
    page.command("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2000}
    page.command("Network.emulateNetworkConditions", **slow)
    drop(page, "let him enter.mp3", FIRST.read_bytes())
    page.wait(lambda: page.one(".progress").is_displayed())
    page.one(".cancel").click()
    assert page.all(".take") == []
    page.command("Network.emulateNetworkConditions", **{**slow, "uploadThroughput": -1})
    drop(page, "let him enter.mp3", FIRST.read_bytes())
    assert shown(page)


# What is seen, and by whom


LONG = "donaudampfschifffahrtsgesellschaftskapitaensmuetzenknopfloch"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 900])
def test_it_fits(width: int, theme: str, page: Browser) -> None:
    size = {"width": width, "height": 640, "deviceScaleFactor": 1, "mobile": width < 500}
    media = [{"name": "prefers-color-scheme", "value": theme}]
    page.command("Emulation.setDeviceMetricsOverride", **size)
    page.command("Emulation.setEmulatedMedia", features=media)
    page.run_async(FILL, [words("it is of the first importance"), words(LONG)], words(LONG, 9))
    assert page.run("return document.scrollingElement.scrollWidth") <= width
    boxes = page.run(BOXES)
    assert len(boxes) >= 8
    for left, right, height in boxes:
        assert 0 <= left < right <= width
        assert height >= 44
    page.command("Emulation.clearDeviceMetricsOverride")
    assert page.complaints() == []


def contrast(page: Browser, selector: str) -> float:
    """Of letters and what is behind them, as the Web Content Accessibility Guidelines have it."""
    colours = page.run(COLOURS, selector)

    def luminance(colour: list[float]) -> float:
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in (each / 255 for each in colour[:3])
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted(map(luminance, colours))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_can_be_read(theme: str, page: Browser) -> None:
    page.command(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}]
    )
    page.run_async(FILL, [[word("unlikely", 0, 1, 0.0), word("sure", 1, 2, 1.0)]], words("may be"))
    parts = (
        "h2",
        ".word",
        ".word:nth-of-type(2)",
        ".unstable",
        ".what",
        "#speak",
        ".copy",
        ".hint",
    )
    for part in (*parts, ".sample", "#problem", ".figure"):
        assert contrast(page, part) >= 4.5, part
    light = theme == "light"
    paper = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) > 384) == light


def test_the_less_certain_the_more_tinted(page: Browser) -> None:
    page.run_async(FILL, [[word("a", 0, 1, c) for c in (1.0, 0.7, 0.2)]], words("may be"))
    tints = page.run(
        "return Array.from(document.querySelectorAll('.finals .word'), "
        "(e) => Number(getComputedStyle(e).backgroundColor.match(/[\\d.]+/g)[3] ?? 1))"
    )
    assert tints[0] == 0 < tints[1] < tints[2]
    assert page.text(".open .word:not(.unstable)") == "may"
    assert page.text(".open .unstable") == "be"


def test_everything_has_a_name_and_is_reached_with_the_keyboard(page: Browser) -> None:
    page.run_async(FILL, [words("it is")], words("of the"))
    tree = page.command("Accessibility.getFullAXTree")["nodes"]
    nodes = [node for node in tree if not node["ignored"]]
    roles = ("button", "textbox", "progressIndicator", "heading")
    named = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if node["role"]["value"] in roles
    ]
    assert {"Start", "Send", "Reconnect", "Copy: Microphone, 17:20"} <= {n for _, n in named}
    assert all(name for _, name in named)
    reached = []
    for _ in range(10):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        active = page.driver.switch_to.active_element
        reached.append(active.get_attribute("id") or active.get_attribute("class"))
    assert reached[:3] == ["speak", "files", "secret"]
    assert {"copy", "save", "cancel", "remedy"} <= set(reached)


# Chinese


CHINESE = "\u6211\u4eec\u4eca\u5929\u5929\u6c14\u5f88\u597d"


def test_chinese_has_no_spaces(page: Browser) -> None:
    mixed = words(f"{' '.join(CHINESE)} ok {' '.join(CHINESE[:2])}")
    assert page.run_async(FILL, [mixed], words("it")) == f"{CHINESE}ok{CHINESE[:2]}\nit"
    assert page.text(".finals .segment") == f"{CHINESE}ok{CHINESE[:2]}"
    assert page.one(".finals .segment").get_attribute("lang") == "zh-Hans"
    assert page.one(".open").get_attribute("lang") == "en"
