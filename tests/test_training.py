"""Layers, loss, batches, checkpoints and configurations."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from ds2edge.errors import ConfigError, DataError
from ds2edge.training.checkpoint import Checkpoint, assign, load_checkpoint, save_checkpoint
from ds2edge.training.config import AugmentConfig, DataConfig, load_config
from ds2edge.training.data.batches import Recordings, bucket, pad, plan_epoch, spec_augment
from ds2edge.training.data.feature_cache import FeatureCache
from ds2edge.training.data.manifest import Utterance
from ds2edge.training.network.layers import CausalConvolution, RowConvolution, SequenceBatchNorm
from ds2edge.training.network.loss import alignable, ctc_loss
from ds2edge.training.network.model import build_model
from ds2edge.training.network.recurrent import gru
from ds2edge.training.step import inputs

CONFIGS = Path(__file__).parents[1] / "training" / "configs"


def plain_gru(x: Any, initial: Any, kernel: Any) -> Any:
    """The GRU's definition, step by step, differentiated by TensorFlow itself."""
    units, hidden, states = kernel.shape[0], initial, []
    for x_t in ops.unstack(x):
        recurrent = ops.matmul(hidden, kernel)
        gates = ops.sigmoid(x_t[:, : 2 * units] + recurrent[:, : 2 * units])
        update, reset = gates[:, :units], gates[:, units:]
        candidate = ops.tanh(x_t[:, 2 * units :] + reset * recurrent[:, 2 * units :])
        hidden = update * hidden + (1 - update) * candidate
        states.append(hidden)
    return ops.stack(states)


def test_gru_and_its_gradient_equal_the_definition() -> None:
    import tensorflow as tf

    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=s).astype("f4") for s in [(7, 3, 15), (3, 5), (5, 15)]]
    weights = rng.normal(size=(7, 3, 5)).astype("f4")
    results = []
    for function in (gru, plain_gru):
        tensors = [tf.constant(i) for i in inputs]
        with tf.GradientTape() as tape:
            for tensor in tensors:
                tape.watch(tensor)
            loss = tf.reduce_sum(function(*tensors) * weights)
        results.append([loss, *tape.gradient(loss, tensors)])
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def brute_force_ctc(log_probs: np.ndarray[Any, Any], tokens: list[int]) -> float:
    """-log of the sum over all paths that collapse to `tokens`."""
    from ds2edge.text import collapse

    paths = itertools.product(range(log_probs.shape[1]), repeat=len(log_probs))
    matching = [log_probs[range(len(p)), p].sum() for p in paths if collapse(p) == tokens]
    return float(-np.logaddexp.reduce(matching))


@pytest.mark.parametrize("tokens", [[], [1], [1, 1], [2, 1, 2]])
def test_ctc_loss_sums_over_all_alignments(tokens: list[int]) -> None:
    logits = np.random.default_rng(1).normal(size=(2, 6, 3)).astype("f4")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    padded = np.array([tokens + [0] * (4 - len(tokens))] * 2, "i4")
    lengths = np.array([len(tokens)] * 2, "i4")
    found = ctc_loss(logits, np.array([6, 5], "i4"), padded, lengths)
    wanted = [brute_force_ctc(log_probs[i, :steps], tokens) for i, steps in enumerate((6, 5))]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("tokens", "steps", "possible"), [([], 0, True), ([1, 1], 2, False), ([1, 1], 3, True)]
)
def test_alignable_counts_the_blanks_between_repeats(
    tokens: list[int], steps: int, possible: bool
) -> None:
    assert alignable(tokens, steps) is possible


def test_batch_norm_ignores_padding_and_keeps_running_averages() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(3, 2, size=(2, 50, 4)).astype("f4")
    mask = np.ones((2, 50), "f4")
    mask[1, 20:] = 0
    norm = SequenceBatchNorm(momentum=0.0)
    y = ops.convert_to_numpy(norm(x, mask, training=True))
    valid = np.concatenate([y[0], y[1, :20]])
    np.testing.assert_allclose(valid.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(valid.std(0), 1, atol=1e-2)
    x[1, 20:] = 1e6
    for in_training in (True, False):
        again = ops.convert_to_numpy(norm(x, mask, training=in_training))
        np.testing.assert_allclose(again[0], y[0], atol=1e-4)


def test_convolution_sees_nothing_later_than_its_step() -> None:
    layer = CausalConvolution(3, 7, 5, 3, 2, "float32")
    x = np.random.default_rng(3).normal(size=(1, 31, 10, 1)).astype("f4")
    mask = np.ones((1, 11), "f4")
    y = ops.convert_to_numpy(layer(x, mask))
    assert y.shape == (1, 11, 5, 3)
    x[:, 18:] = 9
    changed = ops.convert_to_numpy(layer(x, mask))
    np.testing.assert_array_equal(changed[:, :6], y[:, :6])
    assert not np.allclose(changed[:, 6], y[:, 6])


def test_row_convolution_sees_exactly_the_look_ahead_and_zeros_beyond_the_end() -> None:
    layer = RowConvolution(2)
    x = np.random.default_rng(4).normal(size=(2, 6, 3)).astype("f4")
    mask = np.array([[1] * 6, [1] * 4 + [0] * 2], "f4")
    layer.build(x.shape)
    weights = np.random.default_rng(5).normal(size=(3, 3)).astype("f4")
    layer.kernel.assign(weights)
    found = ops.convert_to_numpy(layer(x, mask))
    hidden = np.concatenate([x * mask[:, :, None], np.zeros((2, 2, 3))], axis=1)
    wanted = sum(weights[j] * hidden[:, j : j + 6] for j in range(3))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    model = build_model(config.model, config.features)
    assign(model, checkpoint.weights)
    rng = np.random.default_rng(6)
    frames = [rng.normal(size=(n, 20)).astype("f4") for n in (40, 23)]
    together = ops.convert_to_numpy(model(inputs(pad(frames, [[], []]))))
    for one, row in zip(frames, together, strict=True):
        alone = ops.convert_to_numpy(model(inputs(pad([one], [[]]))))[0]
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-5)


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=60), size=st.integers(1, 9))
def test_buckets_hold_everything_once_within_the_budget(lengths: list[int], size: int) -> None:
    array = np.array(lengths)
    groups = bucket(array, 1000, size, np.random.default_rng(0))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) <= size
        assert len(group) == 1 or array[group].max() * len(group) <= 1000


def test_the_first_epoch_goes_from_short_to_long_and_every_epoch_has_all() -> None:
    lengths = np.random.default_rng(0).integers(20, 400, size=50)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    caches = [FeatureCache(np.zeros((starts[-1], 2), np.float16), starts)] * 2
    repeats = np.array([2] * 25 + [1] * 24 + [0])
    recordings = Recordings(
        [Utterance(Path("x"), 1.0, "", "", "")] * 50, [[]] * 50, caches, repeats
    )
    data = DataConfig(batch_size=4)
    for sorta_grad in (True, False):
        config = replace(data, sorta_grad=sorta_grad)
        plans = [plan_epoch(recordings, config, 100.0, 1, epoch) for epoch in (0, 1, 0)]
        for plan in plans:
            seen = np.concatenate([pick.recordings for pick in plan])
            assert np.array_equal(np.bincount(seen, minlength=50), repeats)
            assert set(np.concatenate([pick.changes for pick in plan])) == {0, 1}
        longest = [lengths[pick.recordings].max() for pick in plans[0]]
        assert (longest == sorted(longest)) is sorta_grad
        orders = [np.concatenate([pick.recordings for pick in plan]).tolist() for plan in plans]
        assert orders[0] == orders[2]
        assert orders[0] != orders[1]


def test_spec_augment_masks_stripes() -> None:
    frames = np.ones((200, 40), "f4")
    config = AugmentConfig(2, 8, 2, 0.1)
    spec_augment(frames, config, np.random.default_rng(1))
    masked_bins = (frames == 0).all(axis=0).sum()
    masked_frames = (frames == 0).all(axis=1).sum()
    assert 0 < masked_bins <= 16
    assert 0 < masked_frames <= 40
    inside = frames[~(frames == 0).all(axis=1)][:, ~(frames == 0).all(axis=0)]
    assert (inside == 1).all()


def test_checkpoint_round_trip_and_damage(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    assert loaded.config == checkpoint.config
    assert all(np.array_equal(loaded.weights[k], v) for k, v in checkpoint.weights.items())
    content = path.read_bytes()
    for damaged in (b"", b"text", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            load_checkpoint(path)
    with pytest.raises(DataError, match="no checkpoint"):
        load_checkpoint(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("units = 3", "units"),
        ("[model]\nunit = 3", "model.unit"),
        ("[model]\nunits = 'many'", "model.units"),
        ("[optimizer]\nprecision = 'int3'", "optimizer.precision"),
        ("[[model]]", "model"),
        ("[model]\nunits = -1", "units needs 1 or more, got -1"),
        ("[model]\nconvolutions = []", "a convolution or more"),
        ("[model]\nconvolutions = [{time = 1, time_stride = 3}]", "cannot step by 3"),
        ("[data]\nspeeds = []", "speeds"),
        ("[data]\nspeeds = [-1]", "speeds"),
        ("[data]\nbatch_seconds = nan", "batch_seconds needs 1 or more, got nan"),
        ("[optimizer]\nepochs = 0", "epochs needs 1 or more"),
        ("[optimizer]\nclip_norm = 0", "clip_norm"),
        ("[augment]\ntime_width = -0.5", "time_width"),
        ("[optimizer]\nlearning_rate = inf", "optimizer.learning_rate needs 0 or more, got inf"),
        ("[optimizer]\nmomentum = 1", "momentum below 1"),
        ("[optimizer]\naccumulate = 0", "optimizer.accumulate needs 1 or more"),
        ("[optimizer]\nkind = 'sgd'", "optimizer.kind"),
        ("[optimizer]\nseed = 4294967296", "optimizer.seed needs less than"),
        ("[auxiliary]\nlayers = [5]", "auxiliary.layers has 5, needed: a recurrent layer, 1 to 4"),
        ("[auxiliary]\nlayers = [1, 1]", "names a layer twice"),
        ("[auxiliary]\nweight = 1", "auxiliary.weight needs 0 or more, below 1"),
        ("[features]\nbins = 0", "a bin or more, got 0"),
        ("[features]\nkind = 'log_spectrogram'\nlow = 8.0\nhigh = 9.0", "a bin or more, got 0"),
        ("][", "not TOML"),
    ],
)
def test_bad_configurations_are_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name = 'a'\nunits = 3", 2),
        ("[model]\nlayers = 3\n[auxiliary]\n\nlayers = [5]", 5),
        ("[data]\n\ntrain = [{ folder = 'a', repeats = 2 }]", 3),
        ("[model]\n[other]", 2),
    ],
)
def test_the_line_of_a_bad_key_is_named(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"^{path}, line {line}: "):
        load_config(path)


def test_models_are_written_with_keras_ops() -> None:
    """So that they run on Keras's other backends too."""
    for name in ("layers", "recurrent", "model"):
        source = (CONFIGS.parent / "network" / f"{name}.py").read_text()
        assert "tensorflow" not in source.replace("TensorFlow", "")
    assert keras.backend.backend() == "tensorflow"
