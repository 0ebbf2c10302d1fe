"""Do all runtimes hear the same? Log-probabilities and words of each beside LiteRT's CompiledModel.

Each runs in a process of its own: LiteRT's interpreter, the GPU with float16 and with float32
arithmetic where the bundle has float weights, and tflite-runtime in another Python. With
--batches, streams are also taken side by side, in each batch size that the bundle has.
"""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from common import print_table

from ds2edge import Ds2edgeError, Transcriber, load_bundle
from ds2edge.acoustic import StepModel, run_chunks
from ds2edge.audio_file import read_audio
from ds2edge.backends import load_backend
from ds2edge.bundle import Bundle
from ds2edge.features import FeatureExtractor
from ds2edge.options import BackendOptions
from ds2edge.pipeline import load_pipeline

EXAMPLES = """examples:
  python benchmarks/runtimes.py tests/data/speech/*.mp3
  python benchmarks/runtimes.py --manifest speech/librispeech/manifest.tsv --split test --batches
  python benchmarks/runtimes.py --bundle en-float.ds2 --gpu \\
      --tflite-python .venv/tflite/bin/python tests/data/speech/*.mp3
"""
AIM = 0.2  # % of the words that may differ


def main() -> None:
    """Print what each runtime makes of the recordings."""
    given = _parser().parse_args()
    if given.worker:
        _work(given.worker, json.loads(given.options), given.bundle, given.files)
        return
    files = [*given.files, *_of_manifest(given.manifest, given.split)]
    if not files:
        sys.exit("needed recordings: files, or --manifest")
    if given.batches:
        _print_batches(load_bundle(given.bundle), files)
    here = sys.executable
    ways: dict[str, tuple[str, dict[str, object]]] = {
        "LiteRT CompiledModel": (here, {"backend": "litert", "device": "cpu"}),
        "LiteRT Interpreter": (here, {"backend": "litert-interpreter", "device": "cpu"}),
    }
    if given.tflite_python:
        options = {"backend": "tflite-runtime", "device": "cpu"}
        ways["tflite-runtime"] = (given.tflite_python, {**options})
        ways["tflite-runtime, fp32"] = (given.tflite_python, {**options, "precision": "fp32"})
    if given.gpu:
        ways["GPU"] = (here, {"device": "gpu", "strict": True})
        ways["GPU, fp32"] = (here, {"device": "gpu", "strict": True, "precision": "fp32"})
    with tempfile.TemporaryDirectory() as folder:
        _print_runtimes(ways, given.bundle, files, Path(folder))


def _print_runtimes(
    ways: dict[str, tuple[str, dict[str, object]]], bundle: str, files: list[Path], folder: Path
) -> None:
    """Of two precisions, each is compared with LiteRT's CompiledModel of its own."""
    exact = {"backend": "litert", "device": "cpu", "precision": "fp32"}
    references: dict[bool, tuple[list[list[str]], list[np.ndarray]] | None] = {
        False: None,
        True: None,
    }
    rows = []
    for name, (python, options) in ways.items():
        floats = name.startswith("GPU") or options.get("precision") == "fp32"
        if references[floats] is None:
            first = exact if floats else ways["LiteRT CompiledModel"][1]
            found, why = _run(sys.executable, first, bundle, files, folder / "first")
            if found is None:
                rows.append((name, "-", "-", "-", why))
                continue
            references[floats] = found
        reference = references[floats]
        found, why = _run(python, options, bundle, files, folder / "other")
        if found is None or reference is None:
            rows.append((name, "-", "-", "-", why))
            continue
        apart = max(float(np.abs(a - b).max()) for a, b in zip(reference[1], found[1], strict=True))
        words, others = differences(reference[0], found[0])
        share = 100 * others / max(1, words)
        verdict = "yes" if share <= AIM else "NO"
        rows.append((name, f"{apart:.2g}", f"{others} of {words}", f"{share:.2f} %", verdict))
    header = ("runtime", "largest difference of log p", "other words", "share", f"<= {AIM} %")
    print_table(header, rows)


def differences(
    reference: Sequence[Sequence[str]], found: Sequence[Sequence[str]]
) -> tuple[int, int]:
    """Words of the reference, and how many of all are replaced, missing or too many."""
    others = 0
    for one, other in zip(reference, found, strict=True):
        blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
        others += sum(max(b - a, d - c) for kind, a, b, c, d in blocks if kind != "equal")
    return sum(map(len, reference)), others


def _run(
    python: str, options: dict[str, object], bundle: str, files: list[Path], folder: Path
) -> tuple[tuple[list[list[str]], list[np.ndarray]] | None, str]:
    folder.mkdir(exist_ok=True)
    command = [python, __file__, "--worker", str(folder), "--options", json.dumps(options)]
    done = subprocess.run(
        [*command, "--bundle", bundle, *map(str, files)], capture_output=True, text=True
    )
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["it failed"])[-1][:100]
    words = json.loads((folder / "words.json").read_text())
    with np.load(folder / "log_probs.npz") as stored:
        return (words, [stored[str(i)] for i in range(len(words))]), ""


def _work(folder: Path, options: dict[str, object], name: str, files: list[Path]) -> None:
    transcriber = Transcriber(name, **options)  # type: ignore[arg-type]
    pipeline = load_pipeline(transcriber.bundle, BackendOptions(**options))  # type: ignore[arg-type]
    rate = transcriber.bundle.manifest.features.sample_rate
    words, blocks = [], {}
    for i, path in enumerate(files):
        samples = read_audio(path, rate)
        blocks[str(i)] = pipeline.log_probs(samples)
        words.append([word.text for word in transcriber.transcribe(samples, rate).words])
    (folder / "words.json").write_text(json.dumps(words))
    np.savez(folder / "log_probs.npz", **blocks)


def _print_batches(bundle: Bundle, files: Sequence[Path]) -> None:
    """Streams side by side against each alone."""
    manifest = bundle.manifest
    backend = load_backend(bundle, BackendOptions(backend="litert", device="cpu")).backend
    if not isinstance(backend, StepModel):
        sys.exit("the bundle's model does not run on a stream")
    extractor = FeatureExtractor(manifest.features, manifest.grid.chunk_frames)
    recordings = [
        extractor.extract(read_audio(path, manifest.features.sample_rate)) for path in files
    ]
    alone = [run_chunks(backend, one, manifest.grid.chunk_frames) for one in recordings]
    rows = []
    for size in manifest.artefacts[0].batches:
        apart, streams = 0.0, 0
        for begin in range(0, len(recordings), size):
            group = recordings[begin : begin + size]
            # Always as many as the batch takes, or a smaller one would be used.
            group = [group[i % len(group)] for i in range(size)]
            expected = [alone[begin + i % len(alone[begin : begin + size])] for i in range(size)]
            for found, one in zip(
                _together(backend, group, manifest.grid.chunk_frames), expected, strict=True
            ):
                apart = max(apart, float(np.abs(found - one).max()))
                streams += 1
        rows.append((str(size), str(streams), f"{apart:g}"))
    print_table(("streams at once", "streams", "largest difference of log p from alone"), rows)
    print()


def _together(
    backend: StepModel, recordings: Sequence[np.ndarray], chunk: int
) -> Iterator[np.ndarray]:
    states = [backend.start() for _ in recordings]
    blocks: list[list[np.ndarray]] = [[] for _ in recordings]
    for begin in range(0, max(map(len, recordings)), chunk):
        going = [i for i, one in enumerate(recordings) if begin < len(one)]
        pieces = [recordings[i][begin : begin + chunk] for i in going]
        found = backend.step_together([states[i] for i in going], pieces)
        for i, block in zip(going, found, strict=True):
            blocks[i].append(block)
    for state, mine in zip(states, blocks, strict=True):
        yield np.concatenate([*mine, backend.flush(state)])


def _of_manifest(manifest: Path | None, split: str) -> list[Path]:
    if manifest is None:
        return []
    from ds2edge.training.data.manifest import read_manifest

    return [utterance.path for utterance in read_manifest(manifest, split)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="recordings")
    parser.add_argument("--manifest", type=Path, help="whose recordings are taken")
    parser.add_argument("--split", default="dev", help="of the manifest [%(default)s]")
    parser.add_argument("--bundle", default="en", help="name, folder or .ds2 file [en]")
    parser.add_argument("--gpu", action="store_true", help="the GPU as well")
    parser.add_argument("--tflite-python", help="of an environment with tflite-runtime")
    parser.add_argument("--batches", action="store_true", help="streams side by side as well")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    try:
        main()
    except Ds2edgeError as error:
        sys.exit(str(error))
