"""The search for decoder weights, and which of them to believe.

Optuna's TPE proposes; what it proposes for a trial follows from the seed and the trials before it
alone, so that a search that was interrupted goes on as if it had not been.

The setting of fewest errors is partly the luckiest. Those within one standard error of it, by the
paired bootstrap, are as good as far as the recordings tell (Breiman's rule); of these, the one in
the middle is taken. Chosen on random halves of recordings it makes fewer errors on the other
halves than the luckiest one, and fewer than the one with the smallest weights, which stands at
the edge where errors begin to rise. A label prior changes the acoustic model for everybody: its
weight is 0 unless the best setting with it is better by more than one standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ds2edge.errors import ConfigError, DataError
from ds2edge.progress import track
from ds2edge.training.evaluation.bootstrap import (
    LEAST_UNITS,
    Bootstrap,
    Interval,
    draw,
    rate_interval,
)
from ds2edge.training.evaluation.metrics import Counts

if TYPE_CHECKING:
    import optuna

STANDARD_ERROR = 0.6827  # the share of a normal distribution within one of them
RANGES = {
    "alpha": (0.0, 2.0, 0.05),
    "beta": (-1.0, 4.0, 0.25),
    "prior": (0.0, 1.0, 0.05),
}  # low, high, step


class Setting(NamedTuple):
    """What is searched for."""

    alpha: float  # weight of the language model
    beta: float  # added for each word
    prior: float = 0.0  # weight of the label prior that is divided out


@dataclass(frozen=True, eq=False)
class Trial:
    """One setting and its word errors, utterance by utterance, shape = (n,)."""

    setting: Setting
    errors: Counts

    @property
    def total(self) -> int:
        return int(self.errors.sum())


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    trials: tuple[Trial, ...]  # in their order, repeated settings once
    best: Trial  # of fewest errors
    alike: tuple[Trial, ...]  # no worse as far as the recordings tell, the best among them
    chosen: Trial  # the one in the middle of them
    words: Counts  # that were said, shape = (n,)

    def rate(self, trial: Trial) -> float:
        """Word error rate."""
        return trial.total / max(1, int(self.words.sum()))

    def interval(self, trial: Trial) -> Interval | None:
        """95 % bootstrap interval of the word error rate, of utterances."""
        return rate_interval(trial.errors, self.words)


def search(
    count_errors: Callable[[Setting], Counts],
    words: Counts,
    *,
    trials: int,
    seed: int = 0,
    start: Setting | None = None,
    prior: bool = False,
    known: KnownErrors | None = None,
) -> Tuned:
    """Try settings, count their errors, choose.

    Args:
        count_errors: word errors of each utterance, shape = (n,).
        words: that were said, shape = (n,).
        start: tried first.
        prior: search a weight of the label prior in the second half of the trials.
        known: errors that need not be counted again.

    Raises:
        ConfigError: there is no trial to make.
    """
    import optuna

    if trials < 1:
        raise ConfigError(f"needed one trial at least, got {trials}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, known = optuna.create_study(), known or KnownErrors()
    tried: dict[Setting, Trial] = {}
    for number in track(range(trials), "tuning", trials):
        trial, setting = _propose(study, number, trials, seed, start, prior)
        errors = known.get(setting)
        if errors is None:
            errors = count_errors(setting)
            known.add(setting, errors)
        study.tell(trial, int(errors.sum()) / max(1, int(words.sum())))
        tried[setting] = Trial(setting, errors)
    return choose(list(tried.values()), words)


def choose(trials: Sequence[Trial], words: Counts) -> Tuned:
    """See the top of this file."""
    best = min(trials, key=lambda trial: trial.total)
    candidates = list(trials)
    if without := [trial for trial in trials if not trial.setting.prior]:
        plain = min(without, key=lambda trial: trial.total)
        if _no_worse([plain], best):
            candidates, best = without, plain
    alike = _no_worse(candidates, best)
    return Tuned(tuple(trials), best, tuple(alike), _middle(alike), words)


class KnownErrors:
    """Errors by setting, in a file if one is named: each is a line, kept as soon as it is known."""

    def __init__(self, path: Path | None = None, key: str = "") -> None:
        """Read the file, or begin it.

        Args:
            key: of all that the errors depend on.

        Raises:
            ConfigError: the file is of another key.
            DataError: the file is something else.
        """
        self._errors: dict[Setting, Counts] = {}
        self._path = path
        if path is None:
            return
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):  # killed while it was written
            lines.pop()
        try:
            found = json.loads(lines[0])["key"] if lines else key
            for line in map(json.loads, lines[1:]):
                self._errors[Setting(*line["setting"])] = np.array(line["errors"], np.int64)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} holds no trials of `ds2edge tune`: {error}") from None
        if found != key:
            raise ConfigError(
                f"{path} is of another model, language model, split or options; name another file"
            )
        path.write_bytes(b"".join(lines) or json.dumps({"key": key}).encode() + b"\n")

    def get(self, setting: Setting) -> Counts | None:
        """Word errors of each utterance, if they were counted before."""
        return self._errors.get(setting)

    def add(self, setting: Setting, errors: Counts) -> None:
        """Keep them."""
        self._errors[setting] = errors
        if self._path:
            line = json.dumps({"setting": setting, "errors": errors.tolist()})
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def _no_worse(trials: Sequence[Trial], best: Trial) -> list[Trial]:
    """Those of which the errors are within one standard error of the best one's."""
    equal = [trial.total == best.total for trial in trials]
    more = np.stack([trial.errors - best.errors for trial in trials], axis=1).astype(np.float64)
    if len(more) >= LEAST_UNITS:
        lowest = np.quantile(draw(more, Bootstrap()), (1 - STANDARD_ERROR) / 2, axis=0)
        equal = [same or low <= 0 for same, low in zip(equal, lowest.tolist(), strict=True)]
    return [trial for trial, is_alike in zip(trials, equal, strict=True) if is_alike]


def _middle(trials: Sequence[Trial]) -> Trial:
    """The trial nearest to the mean, each weight measured by the range it is searched in."""
    spans = [high - low for low, high, _ in RANGES.values()]
    places = np.array([trial.setting for trial in trials]) / spans
    away = np.linalg.norm(places - places.mean(axis=0), axis=1).round(9)  # ties: fewest errors
    return trials[min(range(len(trials)), key=lambda i: (away[i], trials[i].total))]


def _propose(
    study: optuna.Study, number: int, trials: int, seed: int, start: Setting | None, prior: bool
) -> tuple[optuna.Trial, Setting]:
    import optuna

    names = ("alpha", "beta", "prior") if prior else ("alpha", "beta")
    space: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(low, high, step=step)
        for name, (low, high, step) in RANGES.items()
        if name in names
    }
    fixed: dict[str, float] = {}
    if number == 0 and start:
        fixed = {name: _on_grid(name, getattr(start, name)) for name in names}
    if prior and number < trials // 2:
        fixed["prior"] = 0.0
    study.sampler = optuna.samplers.TPESampler(seed=seed + number, multivariate=True)
    if fixed:
        study.enqueue_trial(fixed)
    trial = study.ask(space)
    return trial, Setting(**{name: round(trial.params[name], 2) for name in names})


def _on_grid(name: str, value: float) -> float:
    low, high, step = RANGES[name]
    return low + step * round((min(max(value, low), high) - low) / step)
