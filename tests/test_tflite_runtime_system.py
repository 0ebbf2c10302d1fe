"""tflite-runtime beside LiteRT: the same bundle, the same words.

It runs in an environment of its own, which `make test-system` makes from the same wheel, with an
older NumPy and without LiteRT.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import FORMAT_3, RECORDINGS

from ds2edge import Transcriber

pytestmark = pytest.mark.system

PYTHON = Path(__file__).parents[1] / ".venv" / "tflite" / "bin" / "python"
CHILD = """
import json, sys
import numpy as np
from ds2edge import Transcriber
from ds2edge.errors import Ds2edgeError

bundle, precision, *recordings = sys.argv[1:]
transcriber = Transcriber(bundle, precision=precision)
print(json.dumps({
    "numpy": np.__version__,
    "runtime": transcriber.info()["runtime"],
    "error": transcriber.info()["backend"]["self_test_error"],
    "words": [
        [[w.text, w.start, w.end] for w in transcriber.transcribe(r).words] for r in recordings
    ],
}))
"""


def heard(bundle: str, precision: str) -> dict[str, Any]:
    """What tflite-runtime makes of the recordings."""
    command = [str(PYTHON), "-P", "-c", CHILD, bundle, precision, *map(str, RECORDINGS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["runtime"].startswith("tflite-runtime 2.14")
    assert found["numpy"].startswith("1.")
    return found


def test_float32_gives_identical_words_and_times() -> None:
    found = heard(str(FORMAT_3), "fp32")
    transcriber = Transcriber(str(FORMAT_3), precision="fp32")
    for recording, words in zip(RECORDINGS, found["words"], strict=True):
        here = transcriber.transcribe(recording).words
        assert [[w.text, w.start, w.end] for w in here] == words
    assert any(found["words"])


def test_the_embedded_bundle_gives_the_same_text() -> None:
    found = heard("en", "int8")
    assert found["error"] < 0.5
    transcriber = Transcriber()
    for recording, words in zip(RECORDINGS, found["words"], strict=True):
        assert transcriber.transcribe(recording).text == " ".join(word for word, *_ in words)
