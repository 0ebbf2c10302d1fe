"""Stands in for the package sounddevice where PYTHONPATH has this folder: recordings as microphone.

STAND_IN names recordings, a colon between two. Each stream that is opened plays the next. At its
end the microphone is unplugged, and not there when it is first looked for; after the last
recording it goes on, silent.
"""

import os
import threading
from types import SimpleNamespace

import numpy as np
import soundfile

RECORDINGS = [path for path in os.environ.get("STAND_IN", "").split(":") if path]
state = SimpleNamespace(opened=0, plugged=True)


class PortAudioError(Exception):
    pass


def query_hostapis():
    return ({"name": "ALSA"},)


def query_devices(device=None, kind=None):
    if device is None and kind is None:  # those there are
        state.plugged = True
        return ()
    if not state.plugged:
        raise PortAudioError("Error querying device -1")
    rate = soundfile.info(RECORDINGS[state.opened]).samplerate
    desk = {"index": 0, "name": "Desk", "hostapi": 0}
    return {**desk, "max_input_channels": 1, "default_samplerate": rate}


def check_input_settings(**settings):
    pass


class InputStream:
    def __init__(self, samplerate, callback, finished_callback, **settings):
        self.samplerate, self.callback, self.finished = samplerate, callback, finished_callback
        self.recording, self.active = RECORDINGS[state.opened], False
        state.opened += 1
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self.play, daemon=True)

    def start(self):
        self.active = True
        self.thread.start()

    def play(self):
        samples, _ = soundfile.read(self.recording, dtype="float32", always_2d=True)
        if state.opened < len(RECORDINGS):
            self.hear(samples[:, :1])
            state.plugged = False
        else:
            # At once: a block that waits for the reader longer than a moment would be lost.
            self.hear(samples[:, :1])
            while not self.closed.wait(0.05):  # as fast as time: a screen shows what is open
                self.hear(np.zeros((round(self.samplerate) // 20, 1), np.float32))
        self.active = False
        self.finished()

    def hear(self, samples):
        status, times = SimpleNamespace(input_overflow=False), SimpleNamespace(inputBufferAdcTime=0)
        self.callback(samples, len(samples), times, status)

    def close(self):
        self.closed.set()
        if self.thread.ident:
            self.thread.join(20)
