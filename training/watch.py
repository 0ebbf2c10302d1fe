"""Early warning: a run that diverges is seen before its loss is no number any more."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

WINDOW = 50  # updates that are seen together: batches differ, and sorted ones come in groups
LOSS_RISE = 1.5  # times the lowest median so far
NORM_RISE = 10.0  # the same of the length of the gradient, which may grow while all is well

log = logging.getLogger(__name__)


class Watch:
    """Warns, once for each rise, when loss or gradient are far above what they were."""

    def __init__(self, seen: Iterable[Mapping[str, Any]] = ()) -> None:
        """`seen`: records of the updates that are done."""
        self._rises = {"loss": Rise(LOSS_RISE), "gradient_norm": Rise(NORM_RISE)}
        for record in seen:
            for name, rise in self._rises.items():
                rise.begins(record[name])

    def see(self, record: Mapping[str, Any], where: str) -> None:
        """One more update, in order; `where` names it. Its numbers are finite."""
        for name, rise in self._rises.items():
            if rise.begins(record[name]):
                log.warning(
                    "%s: the %s rises, to %.3g over the last %d updates from %.3g; if it goes on, "
                    "stop and lower optimizer.learning_rate",
                    where,
                    name.replace("_", " "),
                    rise.middle,
                    WINDOW,
                    rise.lowest,
                )


class Rise:
    """When the median of the last values is so many times its lowest."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.middle = self.lowest = math.inf
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._high = False

    def begins(self, value: float) -> bool:
        """Whether it is so now and was not so before this value."""
        self._last.append(value)
        if len(self._last) < WINDOW:
            return False
        self.middle = median(self._last)
        self.lowest = min(self.lowest, self.middle)
        before, self._high = self._high, self.middle > self.factor * self.lowest
        return self._high and not before
