"""The acoustic model of both directions: it hears a recording to its end before it answers.

Its graph has a signature for each layer, for a chunk of that layer's steps; a recording goes
through layer after layer. Shapes are fixed: the last chunk is filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ds2edge.acoustic import AcousticState, log_softmax
from ds2edge.errors import BundleError
from ds2edge.runtimes.runtime import Runtime

FloatArray = npt.NDArray[np.float32]


class WholeRecording:
    """A `Backend` that gives all its answers in `flush`.

    It holds the frames until then, and two layers' steps while it computes.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Raises BundleError if the file has no signatures as of `ds2edge.convert.layer_graph`."""
        self._runtime = runtime
        self._shapes = {name: runtime.shapes(name) for name in runtime.signatures}
        if not {"convolution0", "kernel0", "head"} <= self._shapes.keys():
            raise BundleError(
                "the model is no layer graph: needed signatures convolution0, kernel0, ..., head, "
                f"got {', '.join(self._shapes) or 'none'}"
            )
        self._chunk = self._shapes["head"]["steps"][0]
        self._convolutions = sorted(n for n in self._shapes if n.startswith("convolution"))
        self._layers = sum(name.startswith("kernel") for name in self._shapes)
        self.time_stride = 1  # frames for each output
        for name in self._convolutions:
            self.time_stride *= self._shapes[name]["frames"][1] // self._chunk
        zeros = np.zeros(self._shapes["head"]["steps"], np.float32)
        self._tokens = runtime.run("head", {"steps": zeros})["steps"].shape[1]

    @property
    def description(self) -> str:
        """See `Backend.description`."""
        return f"{self._runtime.description}, whole recordings"

    def start(self) -> AcousticState:
        """See `Backend.start`."""
        return AcousticState({})

    def step(self, state: AcousticState, frames: FloatArray) -> FloatArray:
        """Keeps the frames: there are no outputs yet. Else as `Backend.step`."""
        state.tensors[f"frames{len(state.tensors)}"] = np.array(frames, np.float32)
        state.steps += -(-len(frames) // self.time_stride)
        return np.zeros((0, self._tokens), np.float32)

    def step_together(
        self, states: Sequence[AcousticState], chunks: Sequence[FloatArray]
    ) -> list[FloatArray]:
        """See `Backend.step_together`."""
        return [self.step(*one) for one in zip(states, chunks, strict=True)]

    def flush(self, state: AcousticState) -> FloatArray:
        """The log-probabilities of all steps; the state is then used up."""
        if not state.tensors:
            return np.zeros((0, self._tokens), np.float32)
        x = np.concatenate(list(state.tensors.values()))[:, :, None]
        state.tensors.clear()
        for name in self._convolutions:
            x = self._convolve(name, x)
        x = x.reshape(len(x), -1)
        for i in range(self._layers):
            x = _joined(self._by_chunk(f"kernel{i}", x), len(x))
            x = self._both_ways(i, x)
        if "connected" in self._shapes:
            x = _joined(self._by_chunk("connected", x), len(x))
        log_probs = _joined(map(log_softmax, self._by_chunk("head", x)), len(x))
        state.emitted = len(log_probs)
        return log_probs

    def _convolve(self, name: str, x: FloatArray) -> FloatArray:
        """x: shape = (frames, bins, channels), and that of what is returned."""
        lengths = {side: shape[1] for side, shape in self._shapes[name].items()}
        frames = lengths["frames"]
        offsets = {"before": -lengths.get("before", 0), "frames": 0, "after": frames}

        def block(begin: int) -> FloatArray:
            window = {
                side: _part(x, begin + offsets[side], length)[None]
                for side, length in lengths.items()
            }
            steps: FloatArray = self._runtime.run(name, window)["steps"][0]
            return steps

        blocks = (block(begin) for begin in range(0, len(x), frames))
        return _joined(blocks, -(-len(x) * self._chunk // frames))

    def _by_chunk(self, name: str, x: FloatArray) -> Iterator[FloatArray]:
        """Blocks of a layer whose steps know nothing of each other; x: shape = (steps, inputs)."""
        for begin in range(0, len(x), self._chunk):
            yield self._runtime.run(name, {"steps": _part(x, begin, self._chunk)})["steps"]

    def _both_ways(self, layer: int, terms: FloatArray) -> FloatArray:
        """States of the recurrence from the first step on and of the one back, summed."""
        begins = range(0, len(terms), self._chunk)
        states = _joined(self._states(f"recurrent{layer}", terms, begins), len(terms))
        # Beyond the end the terms are zero, and keep a state of zero: the way back begins there.
        blocks = self._states(f"recurrent_back{layer}", terms, begins[::-1])
        for begin, block in zip(begins[::-1], blocks, strict=True):
            part = states[begin : begin + self._chunk]
            part += block[: len(part)]
        return states

    def _states(self, name: str, terms: FloatArray, begins: range) -> Iterator[FloatArray]:
        state = np.zeros(self._shapes[name]["state"], np.float32)
        for begin in begins:
            inputs = {"steps": _part(terms, begin, self._chunk), "state": state}
            outputs = self._runtime.run(name, inputs)
            state = outputs["state"]
            yield outputs["steps"]


def _part(x: FloatArray, begin: int, length: int) -> FloatArray:
    """x[begin : begin + length], zero where there is none."""
    part = np.zeros((length, *x.shape[1:]), np.float32)
    kept = x[max(begin, 0) : max(begin + length, 0)]
    offset = max(-begin, 0)
    part[offset : offset + len(kept)] = kept
    return part


def _joined(blocks: Iterable[FloatArray], steps: int) -> FloatArray:
    """Blocks one after the other, up to so many steps; one block is held at a time."""
    joined, begin = np.empty(0, np.float32), 0
    for block in blocks:
        if not begin:
            joined = np.empty((steps, *block.shape[1:]), np.float32)
        part = joined[begin : begin + len(block)]
        part[:] = block[: len(part)]
        begin += len(block)
    return joined
