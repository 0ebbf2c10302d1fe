"""Characters of Chinese to words, for their times and for subtitles, by jieba::

    transcript = segmented(transcriber.transcribe("talk.wav"))

The text stays the same. Streams hear characters: what is a word is known only when it is over.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate, pairwise
from typing import TypeAlias

from ds2edge.errors import MissingExtraError
from ds2edge.results import Final, Seconds, Transcript, Word, merge_words
from ds2edge.writing import is_unspaced

Cut: TypeAlias = Callable[[str], Iterable[str]]  # a text to its words, which joined are the text

PAUSE: Seconds = 0.3  # no word goes on after so much silence


def segmented(transcript: Transcript, cut: Cut | None = None) -> Transcript:
    """The same with the words of scripts that write no spaces, in the place of characters.

    Args:
        cut: what parts a text into words; None: jieba.

    Raises:
        MissingExtraError: jieba is not installed.
    """
    cut = cut or load_jieba()
    return replace(transcript, segments=tuple(_segment(one, cut) for one in transcript.segments))


def _segment(final: Final, cut: Cut) -> Final:
    others = (replace(one, words=to_words(one.words, cut)) for one in final.alternatives)
    return replace(final, words=to_words(final.words, cut), alternatives=tuple(others))


def to_words(characters: Sequence[Word], cut: Cut) -> tuple[Word, ...]:
    """Words of several characters; what is in a script with spaces stays as it is."""
    return tuple(word for run in _runs(characters) for word in _merged(run, cut))


@cache
def load_jieba() -> Cut:
    """What cuts Chinese into words; loading it takes about a second.

    Raises:
        MissingExtraError: jieba is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about jieba's regular expressions
            import jieba
    except ModuleNotFoundError:
        raise MissingExtraError(
            "words of Chinese need the package jieba: pip install 'ds2edge[zh]'"
        ) from None
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    # As its `initialize`, which keeps a file of its own, without checks, where others may write.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    cut: Cut = tokenizer.lcut
    return cut


def _runs(words: Sequence[Word]) -> Iterator[list[Word]]:
    """What may be one word, or several: no other script, and no pause inside."""
    run: list[Word] = []
    for word in words:
        goes_on = run and is_unspaced(run[-1].text[-1:]) and is_unspaced(word.text)
        if run and not (goes_on and word.start - run[-1].end < PAUSE):
            yield run
            run = []
        run.append(word)
    if run:
        yield run


def _merged(run: Sequence[Word], cut: Cut) -> Iterator[Word]:
    if len(run) == 1:
        yield run[0]
        return
    ends = set(accumulate(len(text) for text in cut("".join(word.text for word in run))))
    places = list(accumulate((len(word.text) for word in run), initial=0))
    cuts = [i for i, place in enumerate(places) if place in ends or i in (0, len(run))]
    for begin, end in pairwise(cuts):
        yield merge_words(run[begin:end])
