"""Plant faults in a copy of the source, one at a time, and show that each makes a test fail.

    make faults          or: .venv/test/bin/python tests/plant_faults.py [NAME...]

The tests of each fault pass without it, so what fails is the fault. Faults in the native code are
compiled, KenLM once for all of them. The faults themselves are in faults_model.py,
faults_stream.py, faults_around.py, faults_networks.py, faults_training.py,
faults_learning.py, faults_speed.py, faults_scale.py, faults_data.py,
faults_conversion.py, faults_bundles.py, faults_gpu.py, faults_languages.py,
faults_serving.py, faults_server.py and faults_page.py, whose tests need Debian's chromium.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from fault import Fault
from faults_around import FAULTS_AROUND
from faults_bundles import BUNDLE_FAULTS
from faults_conversion import CONVERSION_FAULTS
from faults_data import DATA_FAULTS
from faults_gpu import GPU_FAULTS
from faults_languages import LANGUAGE_FAULTS
from faults_learning import LEARNING_FAULTS
from faults_model import MODEL_FAULTS
from faults_networks import NETWORK_FAULTS
from faults_page import PAGE_FAULTS
from faults_scale import SCALE_FAULTS
from faults_server import SERVER_FAULTS
from faults_serving import SERVING_FAULTS
from faults_speed import SPEED_FAULTS
from faults_stream import STREAM_FAULTS
from faults_training import TRAINING_FAULTS

FAULTS = (
    *MODEL_FAULTS,
    *STREAM_FAULTS,
    *FAULTS_AROUND,
    *NETWORK_FAULTS,
    *TRAINING_FAULTS,
    *LEARNING_FAULTS,
    *SPEED_FAULTS,
    *SCALE_FAULTS,
    *DATA_FAULTS,
    *CONVERSION_FAULTS,
    *BUNDLE_FAULTS,
    *GPU_FAULTS,
    *LANGUAGE_FAULTS,
    *SERVING_FAULTS,
    *SERVER_FAULTS,
    *PAGE_FAULTS,
)
ROOT = Path(__file__).resolve().parents[1]
PARTS = ("ds2edge", "training", "convert", "tests", "native")
FILES = ("pyproject.toml", "CMakeLists.txt", "README.md")
# A path on the command line comes before everything that is installed, an editable one too. What
# hypothesis finds need not be made small.
PROGRAM = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__]
sys.path.insert(0, SITE)
import ds2edge, pytest
assert ds2edge.__file__.startswith(SITE)

class Quick:
    def pytest_sessionstart(self):
        from hypothesis import Phase, settings
        phases = [Phase.explicit, Phase.generate]
        settings.register_profile("quick", settings.default, phases=phases)
        settings.load_profile("quick")

sys.exit(pytest.main(sys.argv[1:], plugins=[Quick()]))
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="only these faults")
    chosen = parser.parse_args().names
    names = [fault.name for fault in FAULTS]
    if not set(chosen) <= set(names):
        parser.error(f"no fault of that name; there are: {', '.join(names)}")
    faults = [fault for fault in FAULTS if not chosen or fault.name in chosen]
    with tempfile.TemporaryDirectory(prefix="ds2edge-faults-") as name:
        folder = Path(name)
        copy_source(folder / "clean")
        survived = [fault.name for fault in faults if not is_caught(fault, folder)]
    print(f"{len(faults) - len(survived)} of {len(faults)} faults were caught")
    return 1 if survived else 0


def is_caught(fault: Fault, folder: Path) -> bool:
    """Do the fault's tests pass without it, and fail with it?"""
    faulty = folder / "faulty"
    copy_source(faulty)
    path = faulty / fault.file
    source = path.read_text(encoding="utf-8")
    if source.count(fault.right) != 1:
        raise SystemExit(f"{fault.name}: {fault.file} no longer has exactly one {fault.right!r}")
    path.write_text(source.replace(fault.right, fault.wrong), encoding="utf-8")
    native = build_native(faulty, folder / "build") if fault.is_native else installed_native()
    before = run_clean(folder / "clean", fault.tests)
    after, first = run_tests(faulty, native, fault.tests)
    verdict = {(0, 1): "caught"}.get((before, after), "NOT CAUGHT")
    detail = first if after else ""
    print(f"{verdict:<11} {fault.name:<46} {detail}", flush=True)
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


@cache
def run_clean(source: Path, tests: tuple[str, ...]) -> int:
    """pytest's exit code without a fault; the same tests are for several."""
    return run_tests(source, installed_native(), tests)[0]


def run_tests(source: Path, native: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """pytest's exit code and the first test that failed, with the package of a copy."""
    site = source / "site"
    package = site / "ds2edge"
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(source / "ds2edge", package)
    for part in ("training", "convert"):
        shutil.copytree(source / part, package / part)
    shutil.copy(native, package)
    program = PROGRAM.replace("SITE", repr(str(site)))
    done = subprocess.run(
        [sys.executable, "-c", program, "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, failed[0].split(" - ")[0] if failed else done.stdout[-300:]


if __name__ == "__main__":
    sys.exit(main())
