"""Rows of the benchmarks that train, as if they had been trained."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from ds2edge.training.checkpoint import Checkpoint, save_checkpoint
from ds2edge.training.evaluation.recognised import Evaluation, ModelFacts, Recognised, to_json

SENTENCE = "one two three four five six seven eight nine ten"

SMALL = """
[base.model]
convolutions = [{ channels = 4, time = 9, frequency = 0, time_stride = 3 }]
layers = 1
units = 8
look_ahead = 2
[base.data]
train = [{ folder = "speech" }]
speeds = [1.0]
[base.optimizer]
epochs = 1
precision = "float32"
[[rows]]
name = "base"
title = "the base"
[[rows]]
name = "seed"
title = "another seed"
changes = { "optimizer.seed" = 2 }
[[rows]]
name = "both"
title = "in both directions"
changes = { "model.direction" = "both" }
paper = "better, it says"
expected = "better"
[[rows]]
name = "distilled"
title = "from both"
teacher = "both"
"""


def store(rows: ModuleType, out: Path, row: Any, lost: list[int], checkpoint: Checkpoint) -> None:
    """The files of a row that loses so many of ten words of each utterance."""
    place = rows.Place(out, row.name)
    words = SENTENCE.split()
    heard = [
        Recognised("x dev", f"{i}.wav", "s", "dev", 3.0, SENTENCE, {"greedy": " ".join(words[n:])})
        for i, n in enumerate(lost)
    ]
    place.run.mkdir(parents=True)
    steps = [{"step": i + 1, "loss": 4 / (i + 1)} for i in range(60)]
    epochs = [
        {"epoch": i + 1, "loss": 3 - i, "dev_cer": 0.5 - i / 10, "seconds": 90} for i in range(2)
    ]
    for name, records in (("steps", steps), ("history", epochs)):
        text = "".join(json.dumps(record) + "\n" for record in records)
        (place.run / f"{name}.jsonl").write_text(text)
    save_checkpoint(place.checkpoint, checkpoint)
    place.work.write_text(json.dumps(vars(rows.Work(60, 7200.0, 3, 100))))
    place.usage.write_text(json.dumps({"updates": 30, "processor": 60.0, "seconds": 70.0}) + "\n")
    place.evaluation.write_text(to_json(Evaluation(ModelFacts(row.name, "abc"), tuple(heard)), {}))
