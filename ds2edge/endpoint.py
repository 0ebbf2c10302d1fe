"""Where a segment ends: three rules over the silence that model and signal agree on.

The model hears silence as blanks, but later than the signal, by its look-ahead; and it hears
blanks in speech that it does not understand, which is loud. So the signal has to be quiet, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ds2edge.options import StreamOptions
from ds2edge.results import Seconds, Word
from ds2edge.text import BLANK

BLANK_ENOUGH = np.log(np.float32(0.5))  # of a frame without a token
RISE = 1.0  # dB a second by which the quietest level is forgotten
QUIET_SHARE = 0.4  # of the way from the quietest to the loudest level, in dB
QUIET_MARGIN = 6.0  # dB above the quietest that are quiet at any rate
FORCED = 1.5  # times the longest segment: then it ends between two words, pause or not
SHORTEST_PAUSE = 0.2  # s; a pause within a word, before a "t", is shorter
SILENT_LEVEL = -100.0  # dB of digital silence
NO_ROOM = -95.0  # dB; what is fainter comes from no room: a codec or an editor cut the sound off

FloatArray = npt.NDArray[np.float32]


@dataclass
class Level:
    """How loud the signal is, and has been. Goes on from segment to segment."""

    quietest: float = 0.0  # dB of full scale, rising slowly
    loudest: float = SILENT_LEVEL  # dB, falling slowly
    quiet: Seconds = 0.0  # length of the latest quiet stretch
    since: Seconds = 0.0  # it ended; 0 as long as it lasts

    def hear(self, power: float, seconds: Seconds) -> None:
        """Take the mean square of the next samples, which last `seconds`."""
        level = 10 * math.log10(power + 1e-10)
        if level > NO_ROOM:
            self.quietest = min(self.quietest + RISE * seconds, level)
        self.loudest = max(self.loudest - RISE * seconds, level)
        reach = max(QUIET_MARGIN, QUIET_SHARE * (self.loudest - self.quietest))
        if level > self.quietest + reach:
            self.since += seconds
        else:
            self.quiet = seconds if self.since else self.quiet + seconds
            self.since = 0.0

    def pause(self, within: Seconds) -> Seconds:
        """How long it is quiet, or was until less than `within` ago."""
        return self.quiet if not self.since or self.since < within else 0.0


@dataclass
class Silence:
    """Of one segment, as the model hears it."""

    seconds: Seconds = 0.0  # of the segment so far
    blank: Seconds = 0.0  # since the last token

    def hear(self, log_probs: FloatArray, step: Seconds) -> None:
        """Take the next outputs, of `step` seconds each; shape = (outputs, tokens)."""
        self.seconds += len(log_probs) * step
        for after, blank in enumerate(reversed(log_probs[:, BLANK].tolist())):
            if blank < BLANK_ENOUGH:
                self.blank = after * step
                return
        self.blank += len(log_probs) * step


def is_endpoint(
    silence: Silence,
    level: Level,
    options: StreamOptions,
    look_ahead: Seconds,
    has_words: Callable[[], bool],
) -> bool:
    """Does the segment end here?

    Args:
        look_ahead: by which the model's outputs are later than the signal. What began to be said
            within half of it is not among them yet.
        has_words: of the segment; only asked when it matters.
    """
    seconds = silence.seconds + look_ahead
    if is_too_long(silence, options, look_ahead):
        return True
    pause = _pause(seconds, options)
    if silence.blank + look_ahead < pause or level.pause(look_ahead / 2) < min(look_ahead, pause):
        return False
    return seconds >= min(options.silence_before, options.longest) or has_words()


def is_too_long(silence: Silence, options: StreamOptions, look_ahead: Seconds) -> bool:
    """Has the segment to end, though nobody makes a pause?"""
    return silence.seconds + look_ahead >= FORCED * options.longest


def widest_gap(words: Sequence[Word], since: Seconds) -> Seconds | None:
    """The middle of the longest time between two neighbouring words.

    Args:
        words: in the order in which they were spoken.
        since: no gap whose middle lies before this is looked at.

    Returns: seconds on the words' clock; None where there is no such gap.
    """
    gaps = [(b.start - a.end, (a.end + b.start) / 2) for a, b in pairwise(words)]
    return max((gap for gap in gaps if gap[1] >= since), default=(0.0, None))[1]


def _pause(seconds: Seconds, options: StreamOptions) -> Seconds:
    """The silence that ends a segment; for one that is too long, less and less of it."""
    beyond = seconds - options.longest
    if beyond <= 0:
        return options.silence_after
    left = 1 - beyond / ((FORCED - 1) * options.longest)
    return max(SHORTEST_PAUSE, options.silence_after * left)
