"""What HTML pages of ds2edge share: the template around them, plots and recordings inside them.

A page is one file: it needs no other, and no network.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ds2edge.audio import FloatArray, SampleInput
from ds2edge.audio_file import open_audio

SAMPLE_RATE = 16_000  # Hz, of recordings in a page


@dataclass(frozen=True)
class Plot:
    """A picture with what it says."""

    title: str
    uri: str
    alternative: str  # for those who do not see it


def render_page(template: Path, **values: Any) -> str:
    """The page of a template, which extends page.html.j2; what it inserts is escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)


def embedded(samples: FloatArray) -> str:
    """Samples at `SAMPLE_RATE` as MP3 inside a URI: what every browser plays."""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="MP3")
    return "data:audio/mpeg;base64," + base64.b64encode(file.getvalue()).decode()


def beginning(path: Path, seconds: float) -> FloatArray:
    """The first seconds of a recording at `SAMPLE_RATE`; the rest is not read.

    Raises:
        AudioError: it cannot be read.
    """
    with open_audio(path) as file:
        converter = SampleInput(file.sample_rate, SAMPLE_RATE)
        pieces, length = [], 0
        for block in file.blocks(seconds=10.0):
            pieces.append(converter.convert(block))
            length += len(pieces[-1])
            if length >= seconds * SAMPLE_RATE:
                break
        pieces.append(converter.finish())
    return np.concatenate(pieces)[: round(seconds * SAMPLE_RATE)]
