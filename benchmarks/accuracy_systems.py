"""What accuracy.py compares: ds2edge on a stream, and pocketsphinx with its own model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2edge import StreamOptions, Transcriber, Transcript, decoder
from ds2edge.bundle import Bundle
from ds2edge.pipeline import load_pipeline

RATE = 16_000  # Hz
BLOCK = RATE // 10  # samples that are fed at once
OURS, GREEDY, PEER = "ds2edge", "ds2edge, greedy", "pocketsphinx"

Samples = NDArray[np.float32]  # mono, shape = (n,)
System = Callable[[Samples], str]  # a recording to its text


def systems(bundle: Bundle, phrases: Sequence[str] = ()) -> dict[str, System]:
    """By name; pocketsphinx where it is installed.

    Args:
        phrases: a closed vocabulary of which each recording has one; empty: free speech.

    Raises:
        Ds2edgeError: the bundle cannot be loaded, or a phrase not be spelled.
    """
    transcriber = Transcriber(bundle)
    found = {OURS: streaming(transcriber, StreamOptions(vocabulary=list(phrases)))}
    if not phrases:
        found[GREEDY] = greedy(transcriber)
    if find_spec("pocketsphinx"):
        found[PEER] = pocketsphinx(phrases)
    return found


def streaming(transcriber: Transcriber, options: StreamOptions) -> System:
    """In blocks, as a microphone gives them, with the endpoints that a user meets."""

    def text(samples: Samples) -> str:
        with transcriber.stream(RATE, options) as stream:
            events = [e for block in blocks(samples) for e in stream.feed(block)]
            events += stream.finish()
        return Transcript.from_events(events).text

    return text


def greedy(transcriber: Transcriber) -> System:
    """The likeliest token of each output, without a search."""
    bundle = transcriber.bundle
    pipeline = load_pipeline(bundle)
    return lambda samples: decoder.greedy(pipeline.log_probs(samples), bundle.manifest.tokens)


def pocketsphinx(phrases: Sequence[str] = ()) -> System:
    """With its own settings; a closed vocabulary is a grammar, as its documentation advises."""
    from pocketsphinx import Decoder

    recogniser = Decoder(loglevel="FATAL", **({"lm": None} if phrases else {}))
    if phrases:
        known = [phrase for phrase in phrases if _pronounced(recogniser, phrase)]
        if lacking := [phrase for phrase in phrases if phrase not in known]:
            print(f"{PEER} cannot hear, having no pronunciation: {', '.join(lacking)}")
        if not known:  # it takes no empty grammar
            return lambda samples: ""
        choice = " | ".join(known)
        recogniser.add_jsgf_string("phrases", f"#JSGF V1.0; grammar g; public <p> = {choice};")
        recogniser.activate_search("phrases")

    def text(samples: Samples) -> str:
        recogniser.start_utt()
        pcm = np.round(32767 * np.clip(samples, -1, 1)).astype(np.int16)
        recogniser.process_raw(pcm.tobytes(), full_utt=True)
        recogniser.end_utt()
        found = recogniser.hyp()
        return found.hypstr if found else ""

    return text


def _pronounced(recogniser: Any, phrase: str) -> bool:
    """Whether its dictionary has all words, now: "snowboy" is given to it as "snow" and "boy"."""
    for word in phrase.split():
        if recogniser.lookup_word(word):
            continue
        halves = [(word[:i], word[i:]) for i in range(2, len(word) - 1)]
        spoken = [tuple(map(recogniser.lookup_word, pair)) for pair in halves]
        if not (known := [" ".join(pair) for pair in spoken if all(pair)]):
            return False
        recogniser.add_word(word, known[0], True)
    return True


def blocks(samples: Samples) -> list[Samples]:
    """Parts of `BLOCK` samples; the last may be shorter."""
    return [samples[begin : begin + BLOCK] for begin in range(0, len(samples), BLOCK)]
