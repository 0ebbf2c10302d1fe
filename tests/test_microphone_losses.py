"""What a microphone lost, from the times at which blocks come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge.microphone import _Losses

AUDIO_RATE, AUDIO_BLOCK = 48_000, 2_400


def lost_of(
    blocks: list[tuple[float, float, bool]], drift: float = 0.0, stamps: bool = True
) -> list[float]:
    """Seconds counted as lost before each block.

    Args:
        blocks: seconds that the block comes late, seconds lost before it, reported or not.
        drift: how much slower the device's clock is than ours.
        stamps: the system tells when a block was recorded.
    """
    losses, counted, recorded, samples = _Losses(AUDIO_RATE), [], 0.0, 0
    now = 0.0
    for late, lost, overflow in blocks:
        recorded += lost
        stamp = recorded * (1 + drift)
        recorded += AUDIO_BLOCK / AUDIO_RATE
        now = max(now, recorded * (1 + drift) + late)
        missing = losses.before(samples, 1e6 + now, 5e8 + stamp if stamps else 0.0, overflow)
        samples += missing + AUDIO_BLOCK
        counted.append(missing / AUDIO_RATE)
    return counted


@given(
    st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.03, 0.3]), min_size=1, max_size=400),
    st.sampled_from([-5e-4, 0.0, 5e-4]),
    st.booleans(),
)
def test_what_is_only_late_is_not_lost(lates: list[float], drift: float, stamps: bool) -> None:
    assert not any(lost_of([(late, 0.0, False) for late in lates], drift, stamps))


def test_drift_is_not_lost() -> None:
    hour = [(0.002 * (i % 3), 0.0, False) for i in range(72_000)]
    for drift in (-5e-4, 5e-4):
        assert not any(lost_of(hour, drift))


@given(
    st.lists(st.floats(0.05, 2.0), min_size=1, max_size=5),
    st.sampled_from([-5e-4, 0.0, 5e-4]),
    st.booleans(),
)
def test_an_overflow_tells_what_is_lost(lost: list[float], drift: float, stamps: bool) -> None:
    blocks = [(0.0, 0.0, False)] * 20
    for seconds in lost:
        blocks += [(0.0, seconds, True), *[(0.0, 0.0, False)] * 20]
    counted = [seconds for seconds in lost_of(blocks, drift, stamps) if seconds > 0.04]
    assert counted == pytest.approx(lost, abs=0.005)


def test_what_waited_in_the_device_is_not_lost() -> None:
    blocks = [(0.0, 0.0, False)] * 20 + [(0.1, 0.5, True), (0.05, 0.0, False), (0.0, 0.0, False)]
    assert sum(lost_of(blocks)) == pytest.approx(0.5, abs=0.005)


def test_a_loss_that_nobody_reports_is_found() -> None:
    """PulseAudio, its reader stopped for 45 s: 22 s at once, 23 s never, and no word of it."""
    begin, steady = [(0.0, 0.0, False)] * 40, [(0.0, 0.0, False)] * 60
    held = [(45.0 - 0.05 * i, 0.0, False) for i in range(440)]
    counted = lost_of([*begin, *held, (0.0, 23.0, False), *steady])
    assert sum(counted) == pytest.approx(23.0, abs=0.05)
    assert np.count_nonzero(counted) == 1
    assert np.flatnonzero(counted)[0] - len(begin) - len(held) <= 22  # found within 1.1 s


def test_one_that_catches_up_slowly_has_lost_nothing() -> None:
    begin = [(0.0, 0.0, False)] * 40
    held = [(max(0.0, 5.0 - 0.03 * i), 0.0, False) for i in range(300)]
    assert not any(lost_of([*begin, *held]))
