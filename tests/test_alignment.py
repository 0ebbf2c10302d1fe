"""The native alignment against a plain one, and what it makes of recordings."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_alignment import Costs, Lattice

from ds2edge import _native

BLOCK = 1024  # frames between two checkpoints of the native search


def native(
    scores: np.ndarray,
    words: Sequence[Sequence[int]],
    space: int | None,
    costs: Costs = Costs(),  # noqa: B008 (it is frozen)
    beam: float = 1000.0,
) -> np.ndarray:
    return _native.align(
        scores,
        [list(word) for word in words],
        blank=0,
        inner=0,
        space=space,
        foreign=costs.foreign,
        leave_out=costs.leave_out,
        left_token=costs.left_token,
        beam=beam,
    )


def drawn(rng: np.random.Generator, frames: int, columns: int) -> np.ndarray:
    scores = (rng.normal(size=(frames, columns)) * 3).astype(np.float32)
    return scores - scores.max(axis=1, keepdims=True)


def spoken(words: Sequence[Sequence[int]], columns: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of a recording in which these words are said, each token for two frames or three."""
    said = [0]
    for word in words:
        for token in word:
            said += [token] * int(rng.integers(2, 4)) + [0]
        said += [1] + [0] * int(rng.integers(0, 4))
    scores = rng.uniform(-9, -4, size=(len(said), columns)).astype(np.float32)
    scores[np.arange(len(said)), said] = 0
    return scores


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 10),
    st.lists(st.lists(st.integers(2, 4), min_size=1, max_size=3), min_size=1, max_size=4),
    st.sampled_from([None, 1]),
    st.builds(Costs, st.floats(0, 5), st.floats(0, 6), st.floats(0, 1)),
)
def test_the_path_is_the_best_there_is(seed, frames, words, space, costs):
    scores = drawn(np.random.default_rng(seed), frames, 5)
    lattice = Lattice(scores, words, space, costs)
    path = native(scores, words, space, costs).tolist()
    assert lattice.score(path) == pytest.approx(lattice.best(), abs=1e-3)


def test_checkpoints_change_nothing():
    rng = np.random.default_rng(3)
    words = [rng.integers(2, 6, size=rng.integers(1, 6)).tolist() for _ in range(800)]
    scores = spoken(words, 6, rng)
    assert len(scores) > 5 * BLOCK
    lattice = Lattice(scores, words, 1, Costs())
    path = native(scores, words, 1, beam=100.0).tolist()
    assert lattice.score(path) == pytest.approx(0, abs=1e-3)  # everything was said


@pytest.mark.parametrize("extra", ["in the text", "in the recording"])
def test_what_one_of_both_lacks_is_skipped(extra: str):
    rng = np.random.default_rng(5)
    words = [rng.integers(2, 9, size=5).tolist() for _ in range(60)]
    others = [rng.integers(2, 9, size=5).tolist() for _ in range(20)]
    both = [*words[:30], *others, *words[30:]]
    said, text = (words, both) if extra == "in the text" else (both, words)
    path = native(spoken(said, 9, rng), text, 1)
    starts = np.cumsum([0, *map(len, text)])
    found = {int(np.searchsorted(starts, s // 2, side="right")) - 1 for s in path if s % 2}
    own = [i for i in range(len(text)) if text[i] in words]
    assert len(set(own) & found) >= len(own) - 2  # a word beside the hole may match by chance
    assert len(found - set(own)) <= 2


def test_a_narrow_beam_still_gives_a_path():
    rng = np.random.default_rng(6)
    scores = drawn(rng, 700, 8)
    words = [rng.integers(2, 8, size=3).tolist() for _ in range(100)]
    path = native(scores, words, 1, beam=0.5).tolist()
    assert len(path) == 700
    assert Lattice(scores, words, 1, Costs()).score(path) <= 0  # and there is such a path


@given(
    st.integers(0, 2**32 - 1),
    st.floats(5, 16),
    st.sampled_from([0.02, 0.1, 0.3]),
    st.integers(1, 40),
)
@settings(max_examples=12)
def test_any_beam_gives_a_path_over_many_blocks(seed, beam, left_token, longest):
    """What is left out reaches further than what a block began with."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(2, 8, size=rng.integers(1, longest + 1)).tolist() for _ in range(150)]
    said = spoken([words[i] for i in range(150) if rng.random() < 0.5], 8, rng)
    scores = np.concatenate([said, drawn(rng, 300, 8), said])
    costs = Costs(foreign=1.0, leave_out=5.0, left_token=left_token)
    path = native(scores, words, 1, costs, beam).tolist()
    assert len(path) == len(scores)
    assert Lattice(scores, words, 1, costs).score(path) <= 0  # and there is such a path


def test_ctrl_c_is_heard():
    """In the middle of a search that would take minutes."""
    rng = np.random.default_rng(1)
    words = [rng.integers(2, 8, size=10).tolist() for _ in range(20_000)]
    scores = drawn(rng, 60_000, 8)
    # Where the tests run in a shell's background, SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        native(scores, words, 1, beam=1e6)
    signal.signal(signal.SIGINT, before)


def test_no_output_makes_an_empty_path():
    assert len(native(np.zeros((0, 4), np.float32), [[2]], 1)) == 0


SCORES = np.zeros((5, 4), np.float32)


@pytest.mark.parametrize(
    ("scores", "words", "changes", "said"),
    [
        (SCORES.astype(np.float64), [[2]], {}, "float32"),
        (SCORES[0], [[2]], {}, "shape"),
        (SCORES[:, ::2], [[1]], {}, "strides"),
        (SCORES + 1, [[2]], {}, "0 or less, got 1"),
        (SCORES * np.nan, [[2]], {}, "0 or less, got"),
        (SCORES, [], {}, "a word or more"),
        (SCORES, [[2], []], {}, "a token or more"),
        (SCORES, [[4]], {}, "none of the 4 columns"),
        (SCORES, [[-1]], {}, "none of the 4 columns"),
        (SCORES, [[2]], {"blank": 9}, "none of the 4 columns"),
        (SCORES, [[2]], {"space": 4}, "none of the 4 columns"),
        (SCORES, [[2]], {"inner": 4}, "none of the 4 columns"),
        (SCORES, [[2]], {"foreign": -1.0}, "costs must be 0 or more"),
        (SCORES, [[2]], {"left_token": float("nan")}, "costs must be 0 or more"),
        (SCORES, [[2]], {"beam": 0.0}, "beam must be above 0"),
    ],
)
def test_bad_input_is_refused(scores, words, changes, said):
    settings = {
        "blank": 0,
        "inner": 0,
        "space": 1,
        "foreign": 3.0,
        "leave_out": 10.0,
        "left_token": 0.1,
    }
    with pytest.raises((ValueError, TypeError), match=said):
        _native.align(scores, words, **{**settings, "beam": 100.0, **changes})
