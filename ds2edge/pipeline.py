"""The one stepping engine: samples to frames to log-probabilities to hypotheses.

No files, no devices, no threads: whatever transcribes drives this, for one recording or for many
at once. What a recording needs next is a `Step`; `Work` asks for one after the other, and whoever
does the work may take steps of several recordings together.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import AcousticState
from ds2edge.backends import Loaded, load_backend
from ds2edge.bundle import Bundle, StepGrid
from ds2edge.decoder import (
    DecodedWord,
    Decoder,
    DecoderState,
    LogProbs,
    SearchOptions,
    advance_all,
)
from ds2edge.features import FeatureExtractor, FeatureSettings, FeatureState
from ds2edge.options import BackendOptions

FloatArray = npt.NDArray[np.float32]
T = TypeVar("T")


@dataclass
class PipelineState:
    """Everything that a recording leaves behind between two pieces of it."""

    features: FeatureState  # samples that make no whole chunk yet, and the running mean
    acoustic: AcousticState  # what the step graph carries on
    decoder: DecoderState  # the hypotheses

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes; bounded, however long the recording, but for a model of both
        directions, which keeps it."""
        return self.features.nbytes + self.acoustic.nbytes + self.decoder.bytes


class Step(NamedTuple):
    """What a recording needs next of the model and the search."""

    state: PipelineState  # of the recording
    samples: FloatArray  # of a chunk, as `FeatureExtractor.cut` gives them; none: flush the model


# Yields steps, and is sent the log-probabilities of each once the search has seen them, too.
Work: TypeAlias = Generator[Step, LogProbs, T]

FLUSH = np.zeros(0, np.float32)  # samples of a `Step` that ends a recording


class Pipeline:
    """Features, acoustic model and search of one bundle. Constant: threads may share it."""

    def __init__(self, features: FeatureSettings, grid: StepGrid, loaded: Loaded) -> None:
        self.extractor = FeatureExtractor(features, grid.chunk_frames)
        self.loaded, self.backend = loaded, loaded.backend
        self.seconds_per_output = grid.time_stride / features.frame_rate
        self.seconds_per_chunk = grid.chunk_frames / features.frame_rate
        self.look_ahead = grid.look_ahead * self.seconds_per_output

    def start(self, decoder: Decoder) -> PipelineState:
        """The state before the first sample."""
        return PipelineState(self.extractor.start(), self.backend.start(), decoder.start())

    def samples_needed(self, state: PipelineState) -> int:
        """Samples that complete the next chunk of the step grid."""
        return self.extractor.samples_needed(state.features)

    def advance(self, state: PipelineState, samples: FloatArray) -> Work[list[LogProbs]]:
        """Take mono samples at the model's rate, in any pieces.

        The work returns the log-probabilities that they completed, a block for each chunk of the
        step grid.
        """
        blocks = []
        for piece in self.extractor.cut(state.features, samples):
            blocks.append((yield Step(state, piece)))
        return blocks

    def finish(self, state: PipelineState) -> Work[list[LogProbs]]:
        """End the recording: flush features, convolutions and look-ahead. Returns as `advance`."""
        blocks = []
        for piece in [*self.extractor.cut_rest(state.features), FLUSH]:
            blocks.append((yield Step(state, piece)))
        return blocks

    def run(self, work: Work[T]) -> T:
        """Do the work of one recording, alone; returns what it returns."""
        try:
            step = next(work)
            while True:
                blocks = self.hear([step])
                self.search([step], blocks)
                step = work.send(blocks[0])
        except StopIteration as done:
            result: T = done.value
            return result

    def hear(self, steps: Sequence[Step]) -> list[LogProbs]:
        """Features and acoustic model: the log-probabilities of each step, the same as alone.

        Args:
            steps: of different recordings.
        """
        chunks = [step for step in steps if len(step.samples)]
        frames = self.extractor.frames(
            [step.state.features for step in chunks], [step.samples for step in chunks]
        )
        found = self.backend.step_together([step.state.acoustic for step in chunks], frames)[::-1]
        return [
            found.pop() if len(step.samples) else self.backend.flush(step.state.acoustic)
            for step in steps
        ]

    def search(self, steps: Sequence[Step], blocks: Sequence[LogProbs], threads: int = 1) -> None:
        """Let the search of each recording see its log-probabilities, on so many threads.

        Raises:
            DecoderError: some cannot be used; then no search has seen any.
        """
        advance_all([step.state.decoder for step in steps], blocks, threads=threads)

    def log_probs(self, samples: FloatArray) -> LogProbs:
        """Log-probabilities of a whole recording, shape = (outputs, tokens), for no search."""
        features, acoustic = self.extractor.start(), self.backend.start()
        chunks = [*self.extractor.push(features, samples), *self.extractor.finish(features)]
        blocks = [self.backend.step(acoustic, frames) for frames in chunks]
        return np.concatenate([*blocks, self.backend.flush(acoustic)])


def load_pipeline(bundle: Bundle, options: BackendOptions | None = None) -> Pipeline:
    """The pipeline of a bundle.

    Raises:
        BackendError, BundleError: the acoustic model cannot be loaded or fails its check.
    """
    loaded = load_backend(bundle, options)
    return Pipeline(bundle.manifest.features, bundle.manifest.grid, loaded)


def load_decoder(bundle: Bundle, options: SearchOptions | None = None) -> Decoder:
    """The decoder of a bundle, with its lexicon and language model if it has them.

    Raises:
        DecoderError: they cannot be read or do not belong together.
    """
    if bundle.words is None and bundle.language_model is None and options is None:
        return load_letters(bundle)
    return Decoder(
        bundle.manifest.tokens,
        words=bundle.words,
        language_model=bundle.language_model,
        confidence=bundle.manifest.confidence.get("language_model"),
        options=options or bundle.manifest.decoder,
    )


def load_letters(bundle: Bundle) -> Decoder:
    """The decoder of a bundle without lexicon and language model: any sequence of tokens."""
    manifest = bundle.manifest
    return Decoder(
        manifest.tokens,
        confidence=manifest.confidence.get("letters"),
        options=replace(manifest.decoder, beta=0.0),  # no reward for words
    )


def decode_all(decoder: Decoder, log_probs: LogProbs) -> tuple[DecodedWord, ...]:
    """The words of a whole recording's log-probabilities."""
    state = decoder.start()
    state.advance(log_probs)
    committed = state.commit()
    best = state.finish()
    return committed + (best[0].words if best else ())
