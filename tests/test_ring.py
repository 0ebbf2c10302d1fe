"""The ring buffer, against a plain list, and between two threads."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge.ring import RingBuffer

WRITE, READ = "write", "read"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just(WRITE), st.integers(0, 40), st.sampled_from([0, 0, 0, 1, 7, 100])),
        st.tuples(st.just(READ), st.integers(0, 20), st.integers(1, 60)),
    ),
    max_size=60,
)


class ListModel:
    """The same in a list; None is a sample that was lost."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.full = capacity, False
        self.queue: list[float | None] = []

    def write(self, samples: list[float], missing: int) -> None:
        self.queue += [None] * missing
        free = self.capacity - sum(sample is not None for sample in self.queue)
        deaf = self.full and 4 * free < self.capacity
        room = 0 if deaf else free
        self.full = deaf or len(samples) > room
        self.queue += samples[:room]
        self.queue += [None] * len(samples[room:])

    def read(self, least: int, most: int) -> list[float]:
        if len(self.queue) < least:
            return []
        taken, self.queue = self.queue[:most], self.queue[most:]
        return [0.0 if sample is None else sample for sample in taken]


@given(st.integers(1, 50), STEPS)
def test_it_does_what_a_list_does(capacity: int, steps: list[tuple[str, int, int]]) -> None:
    ring, model = RingBuffer(capacity), ListModel(capacity)
    offered = 0
    delivered: list[float] = []
    for kind, first, second in steps:
        if kind == WRITE:
            offered += second
            samples = [float(offered + i + 1) for i in range(first)]
            offered += first
            ring.write(np.array(samples, np.float32), second)
            model.write(samples, second)
        else:
            block = ring.read(first, second, timeout=0.0)
            assert block.dtype == np.float32
            assert block.tolist() == model.read(first, second)
            delivered += block.tolist()
        assert ring.waiting == len(model.queue)
    ring.close()
    while len(block := ring.read(1000, 7, timeout=0.0)):
        delivered += block.tolist()

    # Each sample, in its place, or silence that is counted; nothing else, nothing twice.
    assert len(delivered) == offered
    assert all(value in (0.0, place + 1.0) for place, value in enumerate(delivered))
    assert delivered.count(0.0) == ring.lost


def test_what_is_too_much_is_one_long_silence() -> None:
    ring = RingBuffer(100)
    heard = []
    for value in range(1, 301):  # the reader takes 9 of every 10
        ring.write(np.full(10, value, np.float32))
        heard.append(ring.read(1, 9, timeout=0.0))
    ring.close()
    while len(block := ring.read(1, 100, timeout=0.0)):
        heard.append(block)
    lost = np.concatenate(heard) == 0
    assert len(lost) == 3000
    assert ring.lost == lost.sum()
    edges = np.flatnonzero(np.diff(lost.astype(int)))
    assert len(edges) >= 4  # it went on after the first time
    assert min(edges[1::2] - edges[::2]) >= 20


def test_silence_takes_no_room() -> None:
    ring = RingBuffer(10)
    ring.write(np.ones(4, np.float32), missing=1_000_000)
    assert ring.waiting == 1_000_004
    assert ring.read(1, 2_000_000, timeout=0.0)[-4:].tolist() == [1.0] * 4


def test_many_losses_without_a_reader_take_no_memory() -> None:
    ring = RingBuffer(10)
    for _ in range(1000):
        ring.write(np.ones(10, np.float32), missing=1)
    assert len(ring._gaps) == 2
    assert ring.waiting == 11_000


def test_what_is_read_is_the_readers_own() -> None:
    ring = RingBuffer(4)
    ring.write(np.ones(4, np.float32))
    block = ring.read(1, 4, timeout=0.0)
    ring.write(np.full(4, 2, np.float32))
    assert block.tolist() == [1.0] * 4


def test_a_reader_waits_no_longer_than_it_said() -> None:
    ring = RingBuffer(10)
    ring.write(np.ones(3, np.float32))
    assert len(ring.read(4, 10, timeout=0.01)) == 0
    assert ring.waiting == 3


def test_writing_wakes_the_reader() -> None:
    ring = RingBuffer(10)
    threading.Timer(0.05, ring.write, args=(np.ones(4, np.float32),)).start()
    start = time.monotonic()
    assert len(ring.read(4, 10, timeout=30.0)) == 4
    assert time.monotonic() - start < 20


def test_closing_wakes_the_reader_and_leaves_what_waits() -> None:
    ring = RingBuffer(10)
    ring.write(np.ones(3, np.float32))
    threading.Timer(0.05, ring.close).start()
    start = time.monotonic()
    assert len(ring.read(4, 10, timeout=30.0)) == 3
    assert time.monotonic() - start < 20
    ring.write(np.ones(3, np.float32))  # too late
    assert len(ring.read(1, 10, timeout=30.0)) == 0


def test_a_writer_does_not_wait_for_a_reader_that_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds2edge.ring.WRITER_PATIENCE", 0.001)
    ring = RingBuffer(10)
    with ring._changed:  # as a reader that was interrupted in the midst
        writer = threading.Thread(target=ring.write, args=(np.ones(3, np.float32), 2))
        writer.start()
        writer.join(20)
        assert not writer.is_alive()
    ring.write(np.ones(1, np.float32))
    assert ring.read(1, 10, timeout=0.0).tolist() == [0.0] * 5 + [1.0]
    assert ring.lost == 5


def test_two_threads() -> None:
    ring, total = RingBuffer(1000), 200_000
    samples = np.arange(1, total + 1, dtype=np.float32)

    def write() -> None:
        for start in range(0, total, 123):
            ring.write(samples[start : start + 123])
            if start % 10 == 0:
                time.sleep(0)
        ring.close()

    writer = threading.Thread(target=write)
    writer.start()
    blocks = []
    while len(block := ring.read(50, 400, timeout=20.0)):
        blocks.append(block)
    writer.join()
    heard = np.concatenate(blocks)
    assert len(heard) == total
    assert np.all((heard == samples) | (heard == 0))
    assert np.count_nonzero(heard == 0) == ring.lost
