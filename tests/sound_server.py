"""A PulseAudio of the tests' own: what is played into its null sink is what its microphone hears.

The daemon's sockets, cookie and settings lie in a temporary folder, and so do ALSA's; no sound card
is needed or touched.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path

import pytest

RATE = 48_000  # of the sink
PACKAGES = "pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"
SOUND = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"


def missing() -> list[str]:
    """What a sound server needs and this system lacks."""
    lacking = [tool for tool in ("pulseaudio", "pactl", "paplay") if not shutil.which(tool)]
    if not find_library("portaudio"):
        lacking.append("libportaudio2")
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        lacking.append("libasound2-plugins")
    if not importlib.util.find_spec("sounddevice"):
        lacking.append("the Python package sounddevice")
    return lacking


@contextlib.contextmanager
def sound_server() -> Iterator[SoundServer]:
    """One that runs, in a folder that goes away with it."""
    if lacking := missing():
        pytest.fail(f"missing: {', '.join(lacking)}; sudo apt-get install {PACKAGES}")
    # A socket's path may have 107 characters: not below pytest's long folders.
    with tempfile.TemporaryDirectory(prefix="ds2edge-") as folder:
        server = SoundServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


class SoundServer:
    """A PulseAudio with one null sink, and the environment in which it is the only one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "home").mkdir()
        (folder / "run").mkdir(mode=0o700)
        (folder / "home" / ".asoundrc").write_text(SOUND)
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.environment = {
            **kept,
            "HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PULSE_SERVER": f"unix:{folder}/run/native",
            "PULSE_SOURCE": "speaker.monitor",
            "PULSE_SINK": "speaker",
        }
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it can be used."""
        with (self.folder / "log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [
                    "pulseaudio",
                    "--daemonize=no",
                    "--exit-idle-time=-1",
                    "-n",
                    "--disable-shm=yes",
                    f"--load=module-native-protocol-unix socket={self.folder}/run/native",
                    f"--load=module-null-sink sink_name=speaker rate={RATE} channels=1",
                ],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        until(lambda: "speaker" in self.list("sinks"), lambda: (self.folder / "log").read_text())

    def stop(self) -> None:
        """Also one that was stopped or has ended."""
        if self.daemon is not None:
            with contextlib.suppress(ProcessLookupError):
                self.daemon.send_signal(signal.SIGCONT)
            self.daemon.terminate()
            self.daemon.wait(20)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def list(self, what: str) -> str:
        """Sinks, or `source-outputs`: who records."""
        return self.run("pactl", "list", "short", what).stdout

    def wait_for_recorder(self) -> None:
        """Until a program records."""
        until(lambda: bool(self.list("source-outputs")))

    def play(self, file: Path) -> None:
        """Returns when it has been played."""
        played = self.run("paplay", str(file))
        assert played.returncode == 0, played.stderr


def until(
    done: Callable[[], bool], why: Callable[[], str] = lambda: "", seconds: float = 20.0
) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited in vain {why()}"
        time.sleep(0.05)
