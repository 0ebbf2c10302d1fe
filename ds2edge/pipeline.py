"""The one stepping engine: samples to frames to log-probabilities to hypotheses.

No files, no devices, no threads: whatever transcribes drives this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import AcousticState
from ds2edge.backends import Loaded, load_backend
from ds2edge.bundle import Bundle, StepGrid
from ds2edge.decoder import DecodedWord, Decoder, DecoderState, LogProbs, SearchOptions
from ds2edge.features import FeatureExtractor, FeatureSettings, FeatureState
from ds2edge.options import BackendOptions

FloatArray = npt.NDArray[np.float32]


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

    def advance(self, state: PipelineState, samples: FloatArray) -> list[LogProbs]:
        """Take mono samples at the model's rate, in any pieces.

        Returns the log-probabilities that they completed, which the search has seen already; a
        block for each chunk of the step grid.
        """
        blocks = [
            self.backend.step(state.acoustic, frames)
            for frames in self.extractor.push(state.features, samples)
        ]
        for block in blocks:
            state.decoder.advance(block)
        return blocks

    def samples_needed(self, state: PipelineState) -> int:
        """Samples that complete the next chunk of the step grid."""
        return self.extractor.samples_needed(state.features)

    def finish(self, state: PipelineState) -> list[LogProbs]:
        """End the recording: flush features, convolutions and look-ahead. Returns as `advance`."""
        blocks = [
            self.backend.step(state.acoustic, frames)
            for frames in self.extractor.finish(state.features)
        ]
        blocks.append(self.backend.flush(state.acoustic))
        for block in blocks:
            state.decoder.advance(block)
        return blocks

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
    if bundle.words is None and options is None:
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
