"""What runs a bundle: chosen, forced, reported; the same answers from each."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import FORMAT_3, RECORDINGS

from ds2edge import Bundle, Transcriber, load_bundle
from ds2edge.acoustic import StepModel, run_chunks
from ds2edge.backends import load_backend
from ds2edge.errors import BackendError, ConfigError
from ds2edge.options import BackendOptions
from ds2edge.runtimes.compiled_model import load_compiled_model
from ds2edge.runtimes.interpreter import load_litert
from ds2edge.runtimes.stderr import captured_stderr
from ds2edge.runtimes.weight_cache import IN_MEMORY

FRAMES = np.random.default_rng(0).normal(size=(100, 20)).astype(np.float32)


def test_both_ways_of_litert_give_the_same_answer(tiny_bundle: Bundle) -> None:
    chunk = tiny_bundle.manifest.grid.chunk_frames
    found = [
        run_chunks(load_backend(tiny_bundle, BackendOptions(backend=name)).backend, FRAMES, chunk)
        for name in ("litert", "litert-interpreter")
    ]
    np.testing.assert_array_equal(*found)


def test_the_fastest_is_taken_and_reported() -> None:
    facts = Transcriber().info()
    assert "CompiledModel" in facts["runtime"]
    assert facts["backend"]["device"] == "cpu"
    assert facts["backend"]["weights"] == "int8"
    assert facts["backend"]["self_test_error"] < 0.5


def test_what_is_asked_for_is_used_and_pickled() -> None:
    transcriber = Transcriber(FORMAT_3, backend="litert-interpreter", precision="fp32")
    again = pickle.loads(pickle.dumps(transcriber))
    for one in (transcriber, again):
        assert "Interpreter" in one.info()["runtime"]
        assert one.info()["backend"]["artefact"] == "fp32.tflite"
    words = [one.transcribe(RECORDINGS[0]).words for one in (transcriber, again)]
    assert words[0] == words[1]


def test_the_next_backend_is_tried_where_the_first_fails(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise BackendError("no luck")

    monkeypatch.setattr("ds2edge.runtimes.compiled_model.load_compiled_model", fails)
    assert "Interpreter" in load_backend(tiny_bundle).backend.description
    with pytest.raises(BackendError, match="no luck"):
        load_backend(tiny_bundle, BackendOptions(backend="litert"))


def test_the_embedded_model_takes_up_to_32_streams_bit_for_bit() -> None:
    bundle = load_bundle("en")
    backend = load_backend(bundle, BackendOptions(backend="litert")).backend
    assert isinstance(backend, StepModel)
    shape = (3, 32, bundle.manifest.grid.chunk_frames, bundle.manifest.features.size)
    chunks = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    alone = []
    for stream in range(32):
        state = backend.start()
        alone.append([backend.step(state, chunk[stream]) for chunk in chunks])
    for size in (2, 3, 4, 7, 8, 13, 16, 27, 32):
        states = [backend.start() for _ in range(size)]
        for i, chunk in enumerate(chunks):
            found = backend.step_together(states, list(chunk[:size]))
            for stream in range(size):
                np.testing.assert_array_equal(found[stream], alone[stream][i])


def test_a_batch_has_few_empty_places() -> None:
    """On a CPU a place costs the same, used or not; a run for one more stream costs two places."""
    backend = load_backend(load_bundle("en"), BackendOptions(backend="litert")).backend
    assert isinstance(backend, StepModel)
    sizes = {count: list(backend._batches(count)) for count in range(1, 100)}
    assert [sizes[count] for count in (3, 6, 9, 15)] == [[4], [4, 2], [8, 1], [16]]
    assert all(count <= sum(found) <= count + 1 for count, found in sizes.items())
    assert sizes[99] == [32, 32, 32, 4]


def test_a_runtime_that_is_not_there_is_named(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendError, match="tflite-runtime is not installed"):
        load_backend(tiny_bundle, BackendOptions(backend="tflite-runtime"))
    monkeypatch.setattr("ds2edge.backends.find_spec", lambda _: None)
    with pytest.raises(BackendError, match="no TFLite runtime is installed; pip install"):
        load_backend(tiny_bundle)


def test_a_precision_that_the_bundle_lacks_is_named(tiny_bundle: Bundle) -> None:
    with pytest.raises(BackendError, match=r"no model of precision fp32 .*, only int8; convert"):
        load_backend(tiny_bundle, BackendOptions(precision="fp32"))
    with pytest.raises(ConfigError, match="precision must be one of auto, int8, fp16, fp32"):
        Transcriber(tiny_bundle, precision="int4")  # type: ignore[arg-type]


@pytest.mark.parametrize("load", [load_litert, lambda path: load_compiled_model(path, IN_MEMORY)])
def test_inputs_of_another_shape_are_refused_and_change_nothing(tiny_bundle: Bundle, load) -> None:
    with captured_stderr():
        runtime = load(tiny_bundle.folder / "int8.tflite")
    inputs = {name: np.ones(s, np.float32) for name, s in runtime.shapes("step").items()}
    expected = runtime.run("step", inputs)
    short = {**inputs, "state": inputs["state"][:, :-1]}
    with pytest.raises(BackendError, match=r"input state needs shape .*, got"):
        runtime.run("step", short)
    with pytest.raises(BackendError, match="got nothing"):
        runtime.run("step", {"features": inputs["features"]})
    for name, value in runtime.run("step", inputs).items():
        np.testing.assert_array_equal(value, expected[name])


def test_several_artefacts_give_the_same_words_where_they_are_sure() -> None:
    bundle = load_bundle(FORMAT_3)
    assert [artefact.weights for artefact in bundle.manifest.artefacts] == ["int8", "fp32"]
    chunk, bins = bundle.manifest.grid.chunk_frames, bundle.manifest.features.size
    int8, float32 = (
        run_chunks(
            load_backend(bundle, BackendOptions(precision=name)).backend, FRAMES[:, :bins], chunk
        )
        for name in ("int8", "fp32")
    )
    assert 0 < np.abs(int8 - float32).mean() < 0.3
