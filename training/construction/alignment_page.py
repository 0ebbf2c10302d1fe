"""An alignment as an HTML page: the recording to listen to, the text that follows it."""

from __future__ import annotations

import base64
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ds2edge.audio_file import open_audio
from ds2edge.training.construction.alignment import Alignment
from ds2edge.training.page import render_page

TEMPLATE = Path(__file__).with_name("alignment.html.j2")
COLUMNS = 1200  # of the picture of the whole recording


def write_page(alignment: Alignment, folder: Path) -> str:
    """The page; it stands in `folder` and links to the recording.

    Raises:
        AudioError: the recording cannot be read.
    """
    return render_page(
        TEMPLATE,
        alignment=alignment,
        name=Path(alignment.recording).name,
        audio=quote(alignment.recording),
        lines=[list(line) for _, line in groupby(alignment.words, lambda word: word.line)],
        loudness=base64.b64encode(_loudness(folder / alignment.recording).tobytes()).decode(),
        clock=clock,
    )


def clock(seconds: float) -> str:
    """Minutes and seconds, as a player shows them."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _loudness(path: Path) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Of equal parts of the recording, from 60 dB below the loudest on; shape = (COLUMNS,)."""
    levels = []
    with open_audio(path) as file:
        for block in file.blocks(0.1):
            levels.append(10 * np.log10(float(np.square(block, dtype=np.float64).mean()) + 1e-10))
    parts = np.array_split(np.array(levels), min(COLUMNS, len(levels)))
    means = np.array([part.max() for part in parts])
    return np.asarray(np.clip((means - means.max() + 60) / 60 * 255, 0, 255), np.uint8)
