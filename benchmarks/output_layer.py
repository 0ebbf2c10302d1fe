"""What the output layer costs on the device: its share of a step, with and without a bottleneck.

Models of random weights, which take as long as trained ones, in int8 on one thread. The share is
what a model takes longer than the same one with 29 tokens, the softmax included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import common  # first: it pins threads
import numpy as np

from ds2edge.acoustic import log_softmax
from ds2edge.arguments import CommandParser
from ds2edge.backends import as_backend
from ds2edge.convert.artefacts import Form, convert_model
from ds2edge.errors import Ds2edgeError
from ds2edge.progress import track
from ds2edge.runtimes.compiled_model import load_compiled_model
from ds2edge.runtimes.stderr import captured_stderr
from ds2edge.runtimes.weight_cache import IN_MEMORY
from ds2edge.text import BLANK_TOKEN, english_characters
from ds2edge.training.config import ModelConfig, TrainConfig, load_config
from ds2edge.training.network.model import build_model

EXAMPLES = """examples:
  python benchmarks/output_layer.py
  python benchmarks/output_layer.py --config zh --tokens 6000 --bottlenecks 96 128
"""


@dataclass(frozen=True)
class Layer:
    """An output layer."""

    tokens: int
    bottleneck: int  # units of a connected layer before it; 0: none

    def of(self, config: ModelConfig) -> ModelConfig:
        """The model with this output layer."""
        # Any characters: what they are takes no time.
        names = (BLANK_TOKEN, *(chr(0x4E00 + i) for i in range(self.tokens - 1)))
        return replace(
            config, tokens="any", token_list=names, extra_tokens=(), connected=self.bottleneck
        )


@dataclass(frozen=True)
class Cost:
    """What a second of audio costs with an output layer."""

    layer: Layer
    step: float  # ms of CPU in the step graph
    softmax: float  # ms of CPU from logits to log-probabilities
    megabytes: float  # of the model

    @property
    def whole(self) -> float:
        return self.step + self.softmax


class Measured:
    """A converted model, and the least time that a chunk of it took."""

    def __init__(self, config: TrainConfig, layer: Layer, folder: Path) -> None:
        model = build_model(layer.of(config.model), config.features)
        converted = convert_model(model, Form(batches=(1,)))
        path = folder / f"{layer.tokens}-{layer.bottleneck}.tflite"
        path.write_bytes(converted.files["int8"])
        self.layer, self.megabytes = layer, path.stat().st_size / 1e6
        grid = converted.grid
        with captured_stderr():
            runtime = load_compiled_model(path, IN_MEMORY)
        self._backend = as_backend(converted.form, runtime, grid)
        self._state = self._backend.start()
        rng = np.random.default_rng(0)
        self._frames = rng.normal(size=(grid.chunk_frames, config.features.size)).astype("f4")
        self._logits = rng.normal(size=(grid.chunk_outputs, layer.tokens)).astype("f4")
        self._seconds = grid.chunk_frames / config.features.frame_rate
        self._both = self._softmax = np.inf

    def measure(self, repeats: int) -> None:
        """Take the time once more; the least of all counts."""
        began = time.process_time()
        for _ in range(repeats):
            self._backend.step(self._state, self._frames)
        self._both = min(self._both, (time.process_time() - began) / repeats)
        began = time.process_time()
        for _ in range(repeats):
            log_softmax(self._logits)
        self._softmax = min(self._softmax, (time.process_time() - began) / repeats)

    @property
    def cost(self) -> Cost:
        """By all measurements so far."""
        softmax = 1000 * self._softmax / self._seconds
        both = 1000 * self._both / self._seconds  # a step makes log-probabilities
        return Cost(self.layer, both - softmax, softmax, self.megabytes)


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    config = load_config(given.config)
    least = Layer(len(english_characters()), 0)
    layers = [least, *(Layer(given.tokens, units) for units in (0, *given.bottlenecks))]
    with tempfile.TemporaryDirectory() as folder:
        models = [
            Measured(config, layer, Path(folder))
            for layer in track(layers, "converting", len(layers))
        ]
        for _ in track(range(given.rounds), "measuring", given.rounds):
            for model in models:  # side by side: what slows the machine slows all
                model.measure(given.repeats)
    costs = [model.cost for model in models]
    print(f"{config.name}: {config.model.layers} layers of {config.model.units} units, int8\n")
    common.print_table(
        ["tokens", "bottleneck", "step ms/s", "softmax ms/s", "output layer's share", "MB"],
        [_row(cost, costs[0]) for cost in costs],
    )


def _row(cost: Cost, least: Cost) -> list[str]:
    layer = cost.layer
    share = 1 - least.whole / cost.whole
    return [
        f"{layer.tokens:,}",
        str(layer.bottleneck or "-"),
        f"{cost.step:.2f}",
        f"{cost.softmax:.2f}",
        f"{share:.0%}" if cost is not least else "",
        f"{cost.megabytes:.2f}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser("output_layer.py", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("--config", default="en-forward", help="all but the output [%(default)s]")
    parser.add_argument("--tokens", type=int, default=6000, metavar="N", help="[%(default)s]")
    parser.add_argument(
        "--bottlenecks",
        type=int,
        nargs="*",
        default=(64, 128, 192),
        metavar="N",
        help="[64 128 192]",
    )
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="[%(default)s]")
    parser.add_argument("--repeats", type=int, default=25, metavar="N", help="[%(default)s]")
    return parser


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        raise SystemExit(f"output_layer.py: {error}") from None
