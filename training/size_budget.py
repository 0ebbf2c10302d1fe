"""How much of a language model has to be pruned away for it to fit into so many megabytes."""

from __future__ import annotations

from collections.abc import Callable

from ds2edge.errors import DataError

Pruning = tuple[int, ...]  # how often an n-gram is seen that is dropped, at most; by order

# Each leaves less than the one before it. Longer n-grams go first: they are many and rare.
PRUNINGS: tuple[Pruning, ...] = (
    (0, 0, 0, 0),
    (0, 0, 0, 1),
    (0, 0, 1, 1),
    (0, 0, 1, 2),
    (0, 1, 1, 2),
    (0, 1, 2, 3),
    (0, 1, 3, 5),
    (0, 2, 4, 8),
    (0, 3, 6, 12),
    (0, 5, 10, 20),
    (0, 8, 16, 32),
    (0, 16, 32, 64),
    (0, 64, 128, 256),
)


def prune_to_fit(size: Callable[[Pruning], float], megabytes: float) -> Pruning:
    """The least pruning whose model fits, by bisection: four models are built, or five.

    Args:
        size: builds a model and tells its megabytes.

    Raises:
        DataError: none fits.
    """
    fits, too_large, smallest = len(PRUNINGS), -1, float("inf")
    while fits - too_large > 1:
        middle = (fits + too_large) // 2
        found = size(PRUNINGS[middle])
        smallest = min(smallest, found)
        if found <= megabytes:
            fits = middle
        else:
            too_large = middle
    if fits == len(PRUNINGS):
        raise DataError(
            f"the smallest model has {smallest:.2f} MB, wanted at most {megabytes:g}; give fewer "
            "--words, a lower --order or more --megabytes"
        )
    return PRUNINGS[fits]
