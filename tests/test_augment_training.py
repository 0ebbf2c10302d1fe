"""Training on augmented sound: each epoch hears something else, a run that goes on the same."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path
from select import select
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from tiny_training import HEADER, lively, records, tiny_config, write_corpus

from ds2edge import cli
from ds2edge.errors import DataError
from ds2edge.training import loop
from ds2edge.training.augmentation.noise import read_noise
from ds2edge.training.checkpoint import Checkpoint, variables
from ds2edge.training.config import DistillConfig, NoiseCorpus, load_config
from ds2edge.training.data.batches import Batch
from ds2edge.training.data.feature_cache import samples_at
from ds2edge.training.distill import prepare_distillation
from ds2edge.training.evaluation.metrics import ErrorRate
from ds2edge.training.fine_tuning import FineTuning, fine_tuning_config
from ds2edge.training.loop import Stopped, train
from ds2edge.training.network.model import build_model
from ds2edge.training.processes import worker_processes
from ds2edge.training.run import Run
from ds2edge.training.step import Update
from ds2edge.training.train import prepare
from ds2edge.training.workers import Workers

PLAIN = lively(tiny_config(2))
NOISY = replace(
    PLAIN,
    augment=replace(
        PLAIN.augment,
        noise=(NoiseCorpus("noise"),),
        band_share=0.5,
        codec_share=0.5,
        codecs=("telephone",),
        vocal_tract=(0.9, 1.1),
    ),
)
EPOCH = 4  # updates in one of it


@pytest.fixture(scope="module", autouse=True)
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("training")
        patch.setenv("DS2EDGE_CACHE", str(folder / "cache"))
        corpora = write_corpus(folder)
        write_noise(corpora / "noise")
        yield corpora


def write_noise(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.normal(size=12_000), 16_000)
    rows = [f"{number}.wav\t0.75\t\tx\ttrain\n" for number in range(2)]
    (folder / "manifest.tsv").write_text(HEADER + "".join(rows))


@pytest.fixture
def run(corpus: Path, tmp_path: Path) -> Iterator[Run]:
    """A run that may be asked for its batches; with no masks."""
    augment = replace(NOISY.augment, frequency_masks=0, time_masks=0)
    made = prepare(replace(NOISY, augment=augment), corpus, tmp_path / "run")
    yield made
    made.close(done=True)


def frames(run: Run, epoch: int) -> list[np.ndarray]:
    """What is heard in an epoch, by place."""
    plan, found = run.plan(epoch), {}
    run.ready(epoch, plan)
    for pick, batch in zip(plan, run.batches(epoch, plan, range(len(plan))), strict=True):
        for place, row, count in zip(pick.places, batch.features, batch.frames, strict=True):
            found[int(place)] = row[:count]
    return [found[place] for place in range(len(found))]


def kept(run: Run) -> list[str]:
    """Files of epochs, by the epoch's number."""
    assert run.heard
    found = run.heard.folder.iterdir() if run.heard.folder.exists() else ()
    return sorted(path.name.split("-")[0] for path in found)


# ---- what is heard


def test_every_epoch_hears_something_else_and_every_run_the_same(run: Run) -> None:
    first, second = frames(run, 0), frames(run, 1)
    assert len(first) == len(second) == 8  # four recordings, each twice
    both = first + second
    for i, one in enumerate(both):
        assert np.isfinite(one).all()
        assert not any(len(one) == len(other) and np.allclose(one, other) for other in both[:i])
    run.close(done=True)  # nothing is left of it
    assert kept(run) == []
    again = frames(run, 1)
    assert all(map(np.array_equal, again, second))


def test_some_batches_are_those_of_the_whole(run: Run) -> None:
    plan = run.plan(1)
    some = list(run.batches(1, plan, [2, 0]))  # not computed before
    run.ready(1, plan)
    whole = list(run.batches(1, plan, range(EPOCH)))
    for one, number in zip(some, (2, 0), strict=True):
        assert np.array_equal(one.features, whole[number].features)


def test_the_plan_is_that_of_what_was_recorded(corpus: Path, run: Run, tmp_path: Path) -> None:
    plain = prepare(PLAIN, corpus, tmp_path / "plain")
    for one, other in zip(plain.train.features, run.train.features, strict=True):
        assert np.array_equal(one.lengths, other.lengths)  # counted, and computed
        assert np.isnan(other.frames).all()  # nobody hears it
    for epoch in (0, 1):
        for one, other in zip(plain.plan(epoch), run.plan(epoch), strict=True):
            assert np.array_equal(one.recordings, other.recordings)
            assert np.array_equal(one.changes, other.changes)
    assert not plain.heard


def test_samples_are_counted_as_they_are_resampled() -> None:
    for speed in (0.9, 0.95, 1.1, 1.3):
        for count in (0, 1, 2, 159, 12_000, 12_345, 99_999):
            made = soxr.resample(np.zeros(count, np.float32), 16_000 * speed, 16_000)
            assert samples_at(count, speed, 16_000) == len(made)


def test_a_worker_computes_its_own_recordings_alone(run: Run) -> None:
    class Second(Workers):
        index, count = 1, 2

    plan = run.plan(0)
    whole = list(run.batches(0, plan, range(EPOCH)))
    run.close(done=True)
    other = replace(run, workers=Second())
    other.ready(0, plan)
    assert other.heard
    assert other.heard._part
    assert len(other.heard._part.places) == 4
    for batch, of_all in zip(other.batches(0, plan, range(EPOCH)), whole, strict=True):
        assert np.array_equal(batch.frames, of_all.frames[1::2])
        shown = batch.features
        assert np.array_equal(shown, of_all.features[1::2, : shown.shape[1]])


def test_the_teacher_hears_what_was_recorded(corpus: Path, tmp_path: Path) -> None:
    config = replace(NOISY, distill=DistillConfig(weight=0.5, shift=1))
    features = prepare(PLAIN, corpus, tmp_path / "plain").config.features
    teacher = replace(PLAIN, features=features, model=replace(PLAIN.model, direction="both"))
    known = Checkpoint(teacher, variables(build_model(teacher.model, teacher.features)))
    clean = prepare_distillation(
        replace(config, augment=PLAIN.augment), known, corpus, tmp_path / "clean"
    )
    noisy = prepare_distillation(config, known, corpus, tmp_path / "noisy")
    plan = clean.plan(0)
    pairs = zip(
        clean.batches(0, plan, range(EPOCH)), noisy.batches(0, plan, range(EPOCH)), strict=True
    )
    for one, other in pairs:
        assert one.teacher is not None
        assert np.array_equal(one.teacher, other.teacher)
        assert np.array_equal(one.frames, other.frames)
        assert not np.allclose(one.features, other.features)
    noisy.close(done=True)


# ---- going on


class InterruptAfter:
    """Ctrl-C after so many updates."""

    def __init__(self, steps: Path, updates: int) -> None:
        self.steps, self.updates = steps, updates

    @property
    def asked(self) -> bool:
        done = self.steps.read_text().count("\n") if self.steps.exists() else 0
        return done >= self.updates


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a model, whose training `test_train_loop` has: the loss tells what it hears."""

    def step(batches: Sequence[Batch]) -> Update:
        heard = zlib.crc32(b"".join(batch.features.tobytes() for batch in batches))
        return Update(heard / 2**32, 1.0, 1.0)

    monkeypatch.setattr(loop, "build_stepper", lambda *_: step)
    monkeypatch.setattr(loop, "dev_error", lambda *_: ErrorRate(1, 2))


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not(
    corpus: Path, tmp_path: Path, hashing: None
) -> None:
    train(prepare(NOISY, corpus, tmp_path / "whole"))
    parts = prepare(NOISY, corpus, tmp_path / "parts")
    for updates, said in ((1, "epoch 1, update 1 of 4"), (EPOCH + 1, "epoch 2, update 1 of 4")):
        at: Any = InterruptAfter(tmp_path / "parts" / "steps.jsonl", updates)
        with pytest.raises(Stopped, match=said):
            train(prepare(NOISY, corpus, tmp_path / "parts"), interrupt=at)
        assert set(kept(parts)) <= {"0", "1"}
    train(prepare(NOISY, corpus, tmp_path / "parts"))
    found = records(tmp_path / "parts" / "steps.jsonl")
    assert found == records(tmp_path / "whole" / "steps.jsonl")
    assert len({record["loss"] for record in found}) == 2 * EPOCH
    assert kept(parts) == []  # there is no more use for it


def test_there_are_two_epochs_on_the_disk_at_most(run: Run) -> None:
    longer = replace(
        run, config=replace(run.config, optimizer=replace(run.config.optimizer, epochs=4))
    )
    for epoch in range(4):
        longer.ready(epoch, longer.plan(epoch), further=True)
        assert set(kept(longer)) <= {str(epoch), str(epoch + 1)}
    assert set(kept(longer)) == {"3"}


def test_ctrl_c_leaves_no_process_and_no_half_file(run: Run) -> None:
    assert run.heard
    asked = iter([None, None, None])

    def check() -> None:
        if next(asked, "enough") == "enough":
            raise Stopped

    with pytest.raises(Stopped):
        run.ready(0, run.plan(0), check=check)
    pool = run.heard._pool
    assert pool
    processes = list(pool._processes.values())
    run.close()
    assert not any(process.is_alive() for process in processes)
    assert not list(run.heard.folder.glob("*.part"))


def test_processes_that_stand_aside_take_what_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    forkserver._forkserver._stop()  # what began before has its own environment
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    before = dict(os.environ)
    with worker_processes(1, aside=True) as pool:
        assert pool.submit(os.sched_getscheduler, 0).result() == os.SCHED_IDLE
        # A process for each core is enough; or as somebody said.
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
        assert pool.submit(os.getenv, "MKL_NUM_THREADS").result() == "3"
    assert dict(os.environ) == before
    with worker_processes(1) as pool:
        assert pool.submit(os.sched_getscheduler, 0).result() == os.sched_getscheduler(0)


PARENT = """
from ds2edge.training.processes import worker_processes

if __name__ == "__main__":
    pool = worker_processes(1)
    print(pool.submit(__import__("os").getpid).result(), flush=True)
    input()
"""


def test_what_a_killed_run_had_started_ends(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, "-P", tmp_path / "parent.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout
        child = Path(f"/proc/{int(parent.stdout.readline())}")
        assert child.exists()
        parent.kill()
        ended, _, _ = select([parent.stdout], [], [], 20)  # nobody holds the pipe: not the child
        if not ended:
            os.kill(int(child.name), signal.SIGKILL)
        assert ended


# ---- what goes wrong


def test_a_disk_that_is_full_is_one_line(run: Run) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            run.ready(0, run.plan(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert run.heard
    assert Path(str(caught.value.filename)).parent == run.heard.folder
    assert not list(run.heard.folder.iterdir())


def test_a_recording_that_changes_meanwhile_is_named(corpus: Path, run: Run) -> None:
    path = corpus / "speech" / "1.wav"
    before, status = path.read_bytes(), path.stat()
    soundfile.write(path, np.zeros(99), 16_000)
    try:
        with pytest.raises(DataError, match=r"manifest.tsv, line 4: .*1.wav changed while"):
            run.ready(0, run.plan(0))
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


TOML = """
[data]
train = [{ folder = "speech" }]
dev = [{ folder = "speech" }]
[augment]
noise = [{ folder = "noise" }]
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"noise"', '"nose"', "cannot read manifest .*nose/manifest.tsv: No such file"),
        ('"noise"', '"noise", split = "test"', "augmentation must not see the test split"),
        ('"noise"', '"noise", split = "loud"', "has no recording of split 'loud'"),
        ('"noise"', '"noise", repeat = 2', r"bad.toml.*: unknown key 'augment.noise.repeat'"),
        ("[augment]", "[augment]\nsnr = [9, 3]", "bad.toml, line 6: augment.snr needs two"),
    ],
)
def test_bad_noise_is_one_line_before_anything_is_computed(
    corpus: Path,
    tmp_path: Path,
    old: str,
    new: str,
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bad.toml").write_text(TOML.replace(old, new))
    command = ["train", str(tmp_path / "bad.toml"), "--data", str(corpus)]
    assert cli.main([*command, "--out", str(tmp_path / "run")]) == 2
    *_, last = capfd.readouterr().err.splitlines()
    assert re.search(said, last)


def test_a_configuration_names_its_noise(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(TOML)
    augment = load_config(tmp_path / "my.toml").augment
    assert augment.noise == (NoiseCorpus("noise", "train"),)
    assert (augment.noise_share, augment.snr, augment.of_sound) == (0.4, (0.0, 30.0), True)


def test_fine_tuning_takes_noise(corpus: Path) -> None:
    model = build_model(NOISY.model, NOISY.features)
    start = Checkpoint(NOISY, variables(model))
    plain = FineTuning(corpus / "speech")
    assert not fine_tuning_config(start, plain).augment.noise  # that of the start is elsewhere
    settings = replace(plain, noise=(corpus / "noise",))
    config = fine_tuning_config(start, settings)
    assert config.augment.noise_share == 0.4
    assert len(read_noise(settings.root, config.augment.noise)) == 2
