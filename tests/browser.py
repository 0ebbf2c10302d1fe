"""Debian's Chromium without a screen, whose microphone hears a file, and the page in it."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from ds2edge.audio_file import read_audio

PACKAGES = "chromium chromium-driver"
PATIENCE = 60.0  # seconds after which something hangs
RATE = 48_000  # Hz, of the microphone
PAUSE = 0.8  # seconds, which end a segment
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which the containers that tests run in do not allow
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP page.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
)
# Keeps what goes over WebSockets: of each the start, the samples, and what the server says.
LISTEN_IN = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...all) {
    super(...all);
    [this.samples, this.said] = [[], []];
    this.addEventListener("message", ({ data }) => this.said.push(data));
    sockets.push(this);
  }
  send(data) {
    if (typeof data === "string") this.start ??= JSON.parse(data);
    else this.samples.push(new Uint8Array(data.slice().buffer));
    super.send(data);
  }
};
"""
HEARD = """
const told = (socket) => new Promise((resolve) => {
  const reader = new FileReader();
  reader.onload = () => resolve([socket.start.sample_rate, reader.result, socket.said]);
  reader.readAsDataURL(new Blob(socket.samples));
});
Promise.all(sockets.filter(({ start }) => start).map(told)).then(arguments[0]);
"""


# Instead of a microphone, which skips where the machine is busy: the samples, then silence.
SPEAK = """
AudioContext.prototype.createMediaStreamSource = function () {
  const bytes = Uint8Array.from(atob("%s"), (one) => one.charCodeAt(0));
  const samples = Float32Array.from(new Int16Array(bytes.buffer), (one) => one / 32768);
  const buffer = new AudioBuffer({ length: samples.length, sampleRate: %d });
  buffer.copyToChannel(samples, 0);
  const heard = new GainNode(this);
  const silence = new ConstantSourceNode(this, { offset: 0 });
  for (const source of [new AudioBufferSourceNode(this, { buffer }), silence]) {
    source.connect(heard);
    source.start();
  }
  return heard;
};
"""


@dataclass(frozen=True)
class Conversation:
    """What went over a WebSocket."""

    rate: float  # Hz
    samples: np.ndarray[Any, Any]  # int16
    finals: list[dict[str, Any]]

    @property
    def words(self) -> list[str]:
        return [word["text"] for final in self.finals for word in final["words"]]

    @property
    def heard(self) -> np.ndarray[Any, Any]:
        """The samples that are part of finals."""
        return self.samples[: len(self.samples) - len(self.rest)]

    @property
    def rest(self) -> np.ndarray[Any, Any]:
        """The samples that came after the last final."""
        return self.samples[round(self.rate * self.finals[-1]["end"]) if self.finals else 0 :]


def speak_into(path: Path, recordings: Sequence[Path]) -> Path:
    """Write what a microphone is to hear: recordings, and a pause around each; returns `path`."""
    gap = np.zeros(round(PAUSE * RATE), np.float32)
    pieces = [part for name in recordings for part in (gap, read_audio(name, RATE))]
    soundfile.write(path, np.concatenate([*pieces, gap]), RATE, subtype="PCM_16")
    return path


def likeness(samples: np.ndarray[Any, Any], rate: float, path: Path) -> float:
    """Of what was sent and what the microphone was to hear, wherever it began; 1: the same."""
    spoken, own_rate = soundfile.read(path)
    wanted = soxr.resample(spoken, own_rate, rate)
    length = len(samples) + len(wanted)
    spectra = [np.fft.rfft(one, length) for one in (samples.astype(float), wanted)]
    spectra = [one[: int(4000 * length / rate)] for one in spectra]  # below 4 kHz
    norms = [np.linalg.norm(one) for one in spectra]
    shifted = np.fft.irfft(spectra[0] * spectra[1].conj(), length)
    return float(shifted.max() * length / 2 / np.prod(norms))


def share_found(samples: np.ndarray[Any, Any], rate: float, path: Path) -> float:
    """Of the windows of what was sent that are not silent, those that the file has somewhere."""
    low, length = 8000, 800  # Hz; samples of a window
    sent = soxr.resample(samples.astype(float), rate, low)
    windows = sent[: len(sent) // length * length].reshape(-1, length)
    loud = [one for one in windows if np.abs(one).max() > 1000]
    spoken, own_rate = soundfile.read(path)
    wanted = soxr.resample(spoken, own_rate, low)
    size = 1 << (len(wanted) + length).bit_length()
    spectrum = np.fft.rfft(wanted, size)
    energy = np.convolve(wanted**2, np.ones(length), "valid")
    found = 0
    for one in loud:
        products = np.fft.irfft(spectrum * np.fft.rfft(one, size).conj(), size)[: len(energy)]
        norms = np.linalg.norm(one) * np.sqrt(np.maximum(energy, 1e-9))
        found += bool((products / norms).max() > 0.9)
    return found / max(1, len(loud))


def word(text: str, start: float, end: float = 0.0, confidence: float = 0.9) -> dict[str, Any]:
    """As a server tells it; 0.3 s long, unless its end is told."""
    return {"text": text, "start": start, "end": end or start + 0.3, "confidence": confidence}


def words(text: str, start: float = 0.0) -> list[dict[str, Any]]:
    """One after the other."""
    return [word(one, start + 0.3 * i) for i, one in enumerate(text.split())]


class Browser:
    """A Chromium with one tab, where a page of a server is."""

    def __init__(self, driver: Chrome, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads
        self.command("Page.addScriptToEvaluateOnNewDocument", source=LISTEN_IN)
        self.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def speak(self, path: Path) -> None:
        """To the pages that are opened from here on, a 16-bit WAV file; none of it is skipped."""
        samples, rate = soundfile.read(path, dtype="int16")
        source = SPEAK % (base64.b64encode(samples.tobytes()).decode(), rate)
        self.command("Page.addScriptToEvaluateOnNewDocument", source=source)

    def open(self, url: str) -> None:
        """A page that was not there before, and remembers nothing."""
        self.driver.get("about:blank")
        self.driver.get(url)
        self.run("sessionStorage.clear()")
        self.wait(lambda: self.run("return document.readyState") == "complete")
        self.driver.get_log("browser")

    def command(self, name: str, **values: Any) -> Any:
        """Of the Chrome DevTools Protocol."""
        return self.driver.execute_cdp_cmd(name, values)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: Any) -> Any:
        """Returns what it calls its last argument with."""
        return self.driver.execute_async_script(script, *arguments)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """Of all such elements, what is scrolled out of sight, too."""
        found = self.run(
            "return Array.from(document.querySelectorAll(arguments[0]), (e) => e.textContent)",
            selector,
        )
        return " ".join(filter(None, found))

    def wait(self, done: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Until it is true; returns it."""
        return WebDriverWait(self.driver, seconds, 0.05).until(lambda _: done())

    def conversations(self) -> list[Conversation]:
        """With a server that was there, since the page was opened."""
        return [
            Conversation(
                rate,
                np.frombuffer(base64.b64decode(url.partition("base64,")[2]), "<i2"),
                [message for message in map(json.loads, said) if message["type"] == "final"],
            )
            for rate, url, said in self.run_async(HEARD)
        ]

    def complaints(self) -> list[str]:
        """Errors since the page was opened: of scripts, of the security policy, of requests."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    def downloaded(self, pattern: str) -> Path:
        """The file that is there when it is complete; its name is used up."""
        # Its name is there before what is in it.
        path = self.wait(
            lambda: next((one for one in self.downloads.glob(pattern) if one.stat().st_size), None)
        )
        assert isinstance(path, Path)
        return path.rename(self.downloads.parent / path.name)


@contextlib.contextmanager
def browser(
    hears: Path | None = None, *, allowed: bool = True, size: tuple[int, int] = (900, 700)
) -> Iterator[Browser]:
    """One that runs, with a profile of its own.

    Args:
        hears: a WAV file, once each time that the microphone is opened.
        allowed: whether pages may use the microphone.
    """
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.fail(f"missing: chromium; sudo apt-get install {PACKAGES}")
    with tempfile.TemporaryDirectory(prefix="ds2edge-", ignore_cleanup_errors=True) as folder:
        options = ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in FLAGS:
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={folder}/profile")
        options.add_argument(f"--window-size={size[0]},{size[1]}")
        if allowed:
            options.add_argument("--use-fake-ui-for-media-stream")
        else:
            blocked = {"profile.default_content_setting_values.media_stream_mic": 2}
            options.add_experimental_option("prefs", blocked)
        if hears:
            options.add_argument(f"--use-file-for-fake-audio-capture={hears}%noloop")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.set_capability("unhandledPromptBehavior", "accept")
        driver = Chrome(options, Service("/usr/bin/chromedriver"))
        driver.set_script_timeout(PATIENCE)
        downloads = Path(folder) / "downloads"
        downloads.mkdir()
        try:
            yield Browser(driver, downloads)
        finally:
            driver.quit()
