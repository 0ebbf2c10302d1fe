"""A ring buffer that loses samples, never their times: what is lost is read as silence."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from ds2edge.audio import FloatArray

# A writer that finds the buffer in use so long counts its samples as lost and goes on.
WRITER_PATIENCE = 0.02  # s


class RingBuffer:
    """Mono samples from a writer that must not wait to a reader in another thread.

    What does not fit, and what the writer says is missing, is counted and stands as silence where
    it was: the reader gets as many samples as were offered. Silence takes no room. Once full, the
    buffer takes nothing until a quarter of it is free, so that a reader which is too slow misses
    one stretch, not a piece of every word.
    """

    def __init__(self, capacity: int) -> None:
        """`capacity` in samples, at least 1."""
        self._samples: FloatArray = np.zeros(capacity, np.float32)
        self._stored = self._taken = 0  # real samples since the beginning
        self._gaps: deque[list[int]] = deque()  # [stored samples before it, samples lost]
        self._silence = 0  # the sum of the gaps that wait
        self._lost = 0
        self._missed = 0  # samples that the writer could not even count as lost yet
        self._full = self._closed = False
        # Held for a copy of one block; both threads spend their time outside.
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Samples to be read, silence among them."""
        with self._changed:
            return self._stored - self._taken + self._silence

    @property
    def lost(self) -> int:
        """Samples replaced by silence since the beginning."""
        return self._lost

    @property
    def closed(self) -> bool:
        return self._closed

    def write(self, samples: FloatArray, missing: int = 0) -> None:
        """Add samples, shape = (n,), that come after so many `missing` ones. Hardly ever waits."""
        if not self._changed.acquire(timeout=WRITER_PATIENCE):
            self._missed += missing + len(samples)
            return
        try:
            if self._closed:
                return
            self._lose(missing + self._missed)
            self._missed = 0
            free = len(self._samples) - (self._stored - self._taken)
            self._full = self._full and 4 * free < len(self._samples)
            room = 0 if self._full else min(free, len(samples))
            self._store(samples[:room])
            if room < len(samples):
                self._full = True
                self._lose(len(samples) - room)
            self._changed.notify_all()
        finally:
            self._changed.release()

    def close(self) -> None:
        """No more will come; what waits can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def read(self, least: int, most: int, timeout: float) -> FloatArray:
        """Wait until `least` samples are there, then take up to `most`; shape = (n,).

        Returns:
            none after `timeout` seconds; fewer than `least` only where the buffer is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.waiting >= least, timeout)
            if not self._closed and self.waiting < least:
                return np.zeros(0, np.float32)
            return self._take(min(self.waiting, most))

    def _store(self, samples: FloatArray) -> None:
        at = self._stored % len(self._samples)
        first = min(len(samples), len(self._samples) - at)
        self._samples[at : at + first] = samples[:first]
        self._samples[: len(samples) - first] = samples[first:]
        self._stored += len(samples)

    def _lose(self, count: int) -> None:
        if count <= 0:
            return
        if self._gaps and self._gaps[-1][0] == self._stored:
            self._gaps[-1][1] += count
        else:
            self._gaps.append([self._stored, count])
        self._silence += count
        self._lost += count

    def _take(self, count: int) -> FloatArray:
        block: FloatArray = np.zeros(count, np.float32)
        done = 0
        while done < count:
            if self._gaps and self._gaps[0][0] == self._taken:
                length = min(count - done, self._gaps[0][1])
                self._gaps[0][1] -= length
                self._silence -= length
                if self._gaps[0][1] == 0:
                    self._gaps.popleft()
            else:
                at = self._taken % len(self._samples)
                end = self._gaps[0][0] if self._gaps else self._stored
                length = min(count - done, end - self._taken, len(self._samples) - at)
                block[done : done + length] = self._samples[at : at + length]
                self._taken += length
            done += length
        return block
