"""How many outputs a step of the graph has: measured, since it depends on model and processor."""

from __future__ import annotations

from ds2edge.convert.artefacts import Form, convert_model
from ds2edge.convert.footprint import measure_footprint
from ds2edge.progress import track
from ds2edge.training.checkpoint import Checkpoint, assign
from ds2edge.training.network.model import build_model

CHUNKS = (1, 2, 4, 8, 16)
WITHIN = 1.1  # times the real-time factor of the fastest: what a shorter chunk may cost


def choose_chunk(checkpoint: Checkpoint) -> int:
    """The shortest chunk that is hardly slower than the fastest, and prints what each takes."""
    config = checkpoint.config
    model = build_model(config.model, config.features)
    assign(model, checkpoint.weights)
    if model.both:
        return Form().chunk_outputs  # the layers run on chunks of their own
    rate = config.features.frame_rate
    factors = {}
    print("| outputs of a step | ms of audio | real-time factor |\n|---|---|---|")
    for outputs in track(CHUNKS, "measuring chunks", len(CHUNKS)):
        converted = convert_model(model, Form(("int8",), outputs, (1,)))
        found = measure_footprint(converted.files["int8"], "stream", converted.grid, rate)
        factors[outputs] = found.real_time_factor
        length = 1000 * converted.grid.chunk_frames / rate
        print(f"| {outputs} | {length:.0f} | {found.real_time_factor:.4f} |")
    best = min(factors.values())
    return next(outputs for outputs in CHUNKS if factors[outputs] <= WITHIN * best)
