"""Faults of conversion and of what runs a bundle; see plant_faults.py."""

from __future__ import annotations

from fault import Fault

CONVERT = "tests/test_convert.py"
CACHE = "tests/test_weight_cache.py"

CONVERSION_FAULTS = (
    Fault(
        "state of another stream of the batch",
        "ds2edge/acoustic.py",
        "            stack([state.tensors[name] for state in states], gathered[name])\n",
        "            stack([state.tensors[name] for state in states[::-1]], gathered[name])\n",
        (CONVERT, "-k", "side_by_side"),
    ),
    Fault(
        "scales of channels forgotten",
        "convert/quantise.py",
        "                operators += _scaled(model, graph, operator, scales[weights.buffer])\n",
        "",
        (CONVERT, "-k", "smaller_weights"),
    ),
    Fault(
        "gate for differences left open",
        "convert/parity.py",
        "        if not within:\n",
        "        if False:\n",
        (CONVERT, "-k", "gate"),
    ),
    Fault(
        "gate for likeliest tokens left open",
        "convert/parity.py",
        "    if not found.same_best >= limit.same_best:\n",
        "    if False:\n",
        (CONVERT, "-k", "gate"),
    ),
    Fault(
        "gate for error rates left open",
        "convert/parity.py",
        'found["points"] > MOST_MORE_ERRORS',
        "False",
        (CONVERT, "-k", "gate"),
    ),
    Fault(
        "packed weights of another model",
        "ds2edge/runtimes/weight_cache.py",
        '        digest = hashlib.file_digest(file, "sha256")\n',
        "        digest = hashlib.sha256()\n",
        (CACHE, "-k", "another"),
    ),
    Fault(
        "damaged packed weights used",
        "ds2edge/runtimes/weight_cache.py",
        "            if path.stat().st_size and _name(stem, path.read_bytes()) == path.name:\n",
        "            if path.stat().st_size:\n",
        (CACHE, "-k", "damaged"),
    ),
    Fault(
        "full disk under the packed weights",
        "ds2edge/runtimes/weight_cache.py",
        "        with suppress(OSError):  # a full or unwritable folder",
        "        with suppress(KeyError):  # a full or unwritable folder",
        (CACHE, "-k", "written"),
    ),
    Fault(
        "inputs of another shape",
        "ds2edge/runtimes/runtime.py",
        "        if found != shape:\n",
        "        if False:\n",
        ("tests/test_backends.py", "-k", "shape"),
    ),
    Fault(
        "weights beyond the end of the file",
        "ds2edge/runtimes/tflite_file.py",
        "        if at + 4 + size * length > len(self._content):\n",
        "        if False:\n",
        ("tests/test_tflite_file.py", "-k", "beyond"),
    ),
)
