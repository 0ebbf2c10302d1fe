"""The best path through the lattice of native/alignment.h, in plain Python: no beam, no blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEVER = -np.inf


@dataclass(frozen=True)
class Costs:
    foreign: float = 3.0
    leave_out: float = 10.0
    left_token: float = 0.1


class Lattice:
    """States 2 * p (the gap or blank before token p) and 2 * p + 1 (token p)."""

    def __init__(
        self, scores: np.ndarray, words: Sequence[Sequence[int]], space: int | None, costs: Costs
    ) -> None:
        self.scores, self.space, self.costs = scores.astype(np.float64), space, costs
        self.tokens = [token for word in words for token in word]
        self.starts = np.cumsum([0, *map(len, words)]).tolist()

    def emitted(self, t: int, state: int) -> float:
        p, is_token = divmod(state, 2)
        if is_token:
            return self.scores[t, self.tokens[p]]
        if p not in self.starts:
            return self.scores[t, 0]
        quiet = [self.scores[t, 0], -self.costs.foreign]
        return max(quiet if self.space is None else [*quiet, self.scores[t, self.space]])

    def left_out(self, start: int, end: int) -> float:
        """Cost of going from one gap to a later one."""
        if start == end:
            return 0.0
        return self.costs.leave_out + self.costs.left_token * (end - start)

    def sources(self, state: int) -> list[tuple[int, float]]:
        """States that a frame in `state` may follow, and what each transition costs."""
        p, is_token = divmod(state, 2)
        if not is_token:
            before = [state, *([state - 1] if p else [])]
            found = [(one, 0.0) for one in before]
        else:
            found = [(state, 0.0), *self.arriving(p)]
            same = p and self.tokens[p] == self.tokens[p - 1]
            if p and not same and (p not in self.starts or self.space is None):
                found.append((state - 2, 0.0))
        if not is_token and p in self.starts:
            found += [(one, cost) for one, cost in self.arriving(p) if one != state]
        return found

    def arriving(self, p: int) -> list[tuple[int, float]]:
        """From the blank before token p; where that is a gap, also from earlier gaps."""
        if p not in self.starts:
            return [(2 * p, 0.0)]
        return [(2 * q, self.left_out(q, p)) for q in self.starts if q <= p]

    def best(self) -> float:
        """Score of the best path."""
        end = self.starts[-1]
        states = range(2 * end + 1)
        now = dict.fromkeys(states, NEVER)
        for state in states:  # before the first frame the path is in the first gap
            if state // 2 in self.starts:
                now[state] = -self.left_out(0, state // 2) + self.emitted(0, state)
        for t in range(1, len(self.scores)):
            now = {
                state: self.emitted(t, state)
                + max(now[one] - cost for one, cost in self.sources(state))
                for state in states
            }
        finals = [now[2 * p] - self.left_out(p, end) for p in self.starts]
        finals += [now[2 * p - 1] - self.left_out(p, end) for p in self.starts if p]
        return max(finals)

    def score(self, states: Sequence[int]) -> float:
        """Of a given path; raises AssertionError if there is no such path."""
        end = self.starts[-1]
        p, _ = divmod(states[0], 2)
        assert p in self.starts
        total = -self.left_out(0, p)
        for t, state in enumerate(states):
            total += self.emitted(t, state)
            if t:
                allowed = dict(sorted(self.sources(state), key=lambda pair: -pair[1]))
                assert states[t - 1] in allowed, (states[t - 1], state)
                total -= allowed[states[t - 1]]
        p, is_token = divmod(states[-1], 2)
        assert p + is_token in self.starts
        return total - self.left_out(p + is_token, end)
