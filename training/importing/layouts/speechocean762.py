"""speechocean762: English of Mandarin speakers, in Kaldi's form; paths are from its root."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ds2edge.training.importing.entries import Entry, Files
from ds2edge.training.importing.layouts import kaldi


def read(files: Files) -> Iterator[Entry]:
    """There is no dev: the split of what is for training is left open."""
    for scp in files.find("*/train/wav.scp", "*/test/wav.scp"):
        split = "test" if scp.parent.name == "test" else ""
        for entry in kaldi.read_folder(scp.parent, scp.parents[1]):
            yield replace(entry, split=split)
