"""Threads that share one Transcriber get what one thread alone gets. For longer: mixed_work.py."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from mixed_work import KINDS, Job, Shared, attempt, do_together, draw_jobs, error_of

from ds2edge import Transcriber
from ds2edge.errors import AudioError
from ds2edge.pipeline import Pipeline

JOBS = draw_jobs(2 * len(KINDS), seed=3)


@pytest.fixture(scope="module")
def shared(transcriber: Transcriber) -> Shared:
    return Shared(transcriber)


@pytest.fixture(scope="module")
def alone(shared: Shared) -> list[Any]:
    return [job.do(shared)[1] for job in JOBS]


def test_the_work_is_of_all_kinds_and_gives_words(alone: list[Any]) -> None:
    assert {job.kind for job in JOBS} == set(KINDS)
    # A drawn vocabulary may fit nothing that is said, but not everywhere.
    with_words = {job.kind for job, one in zip(JOBS, alone, strict=True) if "text=" in str(one)}
    assert with_words >= set(KINDS) - {"stream in two threads"}


def test_eight_threads_get_what_one_alone_gets(shared: Shared, alone: list[Any]) -> None:
    tally = do_together(shared, JOBS, alone, threads=8, seconds=2)
    assert tally.reports == []
    assert tally.done.total() >= 8
    assert tally.seconds.total() > 0


def test_what_one_thread_leaves_to_another_is_found(
    shared: Shared, alone: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Pipeline.advance

    def keep(self: Any, state: Any, samples: Any) -> Any:
        self.kept = samples  # right alone, but all streams have the same pipeline
        time.sleep(0.001)
        return advance(self, state, self.kept)

    monkeypatch.setattr(Pipeline, "advance", keep)
    assert attempt(shared, JOBS[0], alone[0])[1] == ""
    tally = do_together(shared, JOBS, alone, threads=8, seconds=1)
    assert tally.wrong.total() > 0
    assert "alone:" in "".join(tally.reports)


def test_a_job_that_fails_is_reported(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(shared: Shared, chance: random.Random) -> tuple[float, Any]:
        raise ValueError("no such luck")

    monkeypatch.setitem(KINDS, "file", fail)
    tally = do_together(shared, [Job("file", 1)], [None], threads=2, seconds=1)
    assert tally.wrong["file"] == tally.done["file"] > 0
    assert "no such luck" in tally.reports[0]


def test_bad_input_that_is_taken_is_reported() -> None:
    assert error_of(ZeroDivisionError, lambda: 1 // 0).startswith("ZeroDivisionError: ")  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="raised no AudioError"):
        error_of(AudioError, print)
