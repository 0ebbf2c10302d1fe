"""Plant faults in a copy of the source, one at a time, and show that each makes a test fail.

    make faults          or: .venv/test/bin/python tests/plant_faults.py [NAME...]

The tests of each fault pass without it, so what fails is the fault. Faults in the native code are
compiled, KenLM once for all of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("ds2edge", "training", "convert", "tests", "native")
FILES = ("pyproject.toml", "CMakeLists.txt", "README.md")


@dataclass(frozen=True)
class Fault:
    """One line of the source replaced by a wrong one."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]  # pytest arguments; at least one of them has to fail

    @property
    def is_native(self) -> bool:
        return self.file.startswith("native/")


STREAM, CONVERT, AUDIO = "tests/test_stream.py", "tests/test_convert.py", "tests/test_audio.py"
DECODER = (
    "tests/test_decoder.py",
    "tests/test_decoder_modes.py",
    "tests/test_decoder_streaming.py",
    "tests/test_language_model.py",
)

FAULTS = (
    Fault(
        "no flush",
        "ds2edge/pipeline.py",
        "        blocks.append(self.backend.flush(state.acoustic))\n",
        "",
        (STREAM, "-k", "identical or padding"),
    ),
    Fault(
        "state reset at every feed",
        "ds2edge/transcriber.py",
        "            self._pipeline.advance(self._state, self._input.convert(samples, dtype))\n",
        "            self._state.acoustic = self._pipeline.backend.start()\n"
        "            self._pipeline.advance(self._state, self._input.convert(samples, dtype))\n",
        (STREAM, "-k", "identical or same"),
    ),
    Fault(
        "resampler tail lost",
        "ds2edge/audio.py",
        "        return self._resample(np.zeros(0, np.float32), last=True)\n",
        "        return np.zeros(0, np.float32)\n",
        (AUDIO,),
    ),
    Fault(
        "look-ahead off by one",
        "ds2edge/acoustic.py",
        "        begin = max(0, grid.look_ahead - state.steps)\n",
        "        begin = max(0, grid.look_ahead - 1 - state.steps)\n",
        (CONVERT, "-k", "streaming_float"),
    ),
    Fault(
        "blank collapsed wrongly",
        "native/step.cc",
        "const float total = (token == last ? blank : before) + symbol->log_prob;",
        "const float total = before + symbol->log_prob;",
        DECODER,
    ),
    Fault(
        "batch norm not folded",
        "convert/step_graph.py",
        "        kernel = _numpy(layer.kernel) * scale / incoming\n",
        "        kernel = _numpy(layer.kernel) / incoming\n",
        (CONVERT, "-k", "streaming_float"),
    ),
    Fault(
        "language model score dropped",
        "native/search.h",
        "    prefix.word_language += search_->alpha() * search_->language_model().score(\n",
        "    prefix.word_language += 0.0f * search_->language_model().score(\n",
        DECODER,
    ),
    Fault(
        "wrong log base",
        "native/language_model.cc",
        "constexpr float kLn10 = 2.302585092994046f;",
        "constexpr float kLn10 = 1.0f;",
        DECODER,
    ),
    Fault(
        "boost kept when a phrase breaks off",
        "native/vocabulary.h",
        "float word_boost(const Place& place) const { return phrases.paid(place.phrase); }",
        "float word_boost(const Place& place) const { return phrases.credit(place.phrase); }",
        DECODER,
    ),
    Fault(
        "unknown words for nothing",
        "native/vocabulary.h",
        "float word_gain(const Place& place) const { return knows(place) ? 0.0f : -cost; }",
        "float word_gain(const Place&) const { return 0.0f; }",
        DECODER,
    ),
    Fault(
        "label prior not normalised",
        "native/frame.cc",
        "  highest += std::log(sum);\n",
        "",
        DECODER,
    ),
    Fault(
        "damaged language model not refused",
        "native/language_model.cc",
        "    check_kenlm_file(path);\n",
        "",
        ("tests/test_language_model_damage.py",),
    ),
    Fault(
        "delay not taken off",
        "ds2edge/transcriber.py",
        "            return min(max(first, first + frame * step - delay), last)\n",
        "            return min(max(first, first + frame * step), last)\n",
        ("tests/test_bundle.py", "-k", "times"),
    ),
    Fault(
        "fitted confidence not used",
        "ds2edge/pipeline.py",
        '        confidence=bundle.manifest.confidence.get("language_model"),\n',
        "",
        ("tests/test_bundle.py", "-k", "confidences"),
    ),
    Fault(
        "stale state between streams",
        "ds2edge/features.py",
        "        return FeatureState(self._mean.copy())\n",
        "        return FeatureState(self._mean)\n",
        (STREAM, "-k", "before or identical"),
    ),
    Fault(
        "int8 artefact of another checkpoint",
        "convert/converter.py",
        "    return Converted(graph.grid, *contents)\n",
        "    other = build_step_graph(build_model(model.config, FeatureSettings(\n"
        "        bins=model.feature_size)), chunk_outputs)\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        return Converted(graph.grid, contents[0], to_tflite(other, folder, True))\n",
        (CONVERT, "-k", "int8_graph or whole"),
    ),
    Fault(
        "stored answer not compared",
        "ds2edge/acoustic.py",
        "    if not difference <= tolerance:\n",
        "    if False:\n",
        (CONVERT, "-k", "artefact"),
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="only these faults")
    chosen = parser.parse_args().names
    faults = [fault for fault in FAULTS if not chosen or fault.name in chosen]
    if not faults:
        parser.error(f"no fault of that name; there are: {', '.join(f.name for f in FAULTS)}")
    with tempfile.TemporaryDirectory(prefix="ds2edge-faults-") as name:
        folder = Path(name)
        survived = [fault.name for fault in faults if not is_caught(fault, folder)]
    print(f"{len(faults) - len(survived)} of {len(faults)} faults were caught")
    return 1 if survived else 0


def is_caught(fault: Fault, folder: Path) -> bool:
    """Do the fault's tests pass without it, and fail with it?"""
    clean, faulty = folder / "clean", folder / "faulty"
    copy_source(clean)
    copy_source(faulty)
    path = faulty / fault.file
    source = path.read_text(encoding="utf-8")
    if source.count(fault.right) != 1:
        raise SystemExit(f"{fault.name}: {fault.file} no longer has exactly one {fault.right!r}")
    path.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")
    native = build_native(faulty, folder / "build") if fault.is_native else installed_native()
    before, _ = run_tests(clean, installed_native(), fault)
    after, first = run_tests(faulty, native, fault)
    verdict = {(0, 1): "caught"}.get((before, after), "NOT CAUGHT")
    detail = first if after else ""
    print(f"{verdict:<11} {fault.name:<36} {detail}", flush=True)
    if before:
        print(f"            its tests fail without the fault (exit code {before})")
    return verdict == "caught"


def copy_source(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for part in PARTS:
        shutil.copytree(ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, target / name)


def installed_native() -> Path:
    """The installed extension module."""
    spec = importlib.util.find_spec("ds2edge._native")
    if spec is None or spec.origin is None:
        raise SystemExit("ds2edge is not installed in this environment; run `make test` first")
    return Path(spec.origin)


def build_native(source: Path, build: Path) -> Path:
    """Compile the extension module of a copy; what did not change is not compiled again."""
    import pybind11

    mirror = build / "source"  # one place for all faults, so that CMake sees what changed
    mirror.mkdir(parents=True, exist_ok=True)
    for path in [source / "CMakeLists.txt", *filter(Path.is_file, source.glob("native/**/*"))]:
        copy = mirror / path.relative_to(source)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    settings = [
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
    ]
    run(["cmake", "-S", mirror, "-B", build / "cmake", *settings])
    run(["cmake", "--build", build / "cmake", "--target", "_native", "-j", os.cpu_count()])
    return next((build / "cmake").rglob("_native*.so"))


def run(command: list[object]) -> None:
    """A build step, quiet unless it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])


def run_tests(source: Path, native: Path, fault: Fault) -> tuple[int, str]:
    """pytest's exit code and the first test that failed, with the package of a copy."""
    site = source / "site"
    package = site / "ds2edge"
    shutil.copytree(source / "ds2edge", package)
    for part in ("training", "convert"):
        shutil.copytree(source / part, package / part)
    shutil.copy(native, package)
    # A path on the command line comes before everything that is installed, an editable one too.
    program = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'ScikitBuild' not in "
        f"type(f).__name__]; sys.path.insert(0, {str(site)!r}); import ds2edge, pytest; "
        f"assert ds2edge.__file__.startswith({str(site)!r}); sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "-x", "-q", "-p", "no:cacheprovider", *fault.tests],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, failed[0].split(" - ")[0] if failed else done.stdout[-300:]


if __name__ == "__main__":
    sys.exit(main())
