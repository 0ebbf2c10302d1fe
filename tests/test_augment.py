"""What is done to sound, effect by effect: levels, times, lengths, silence, and what is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import RECORDINGS
from tiny_training import HEADER

from ds2edge.audio_file import read_audio
from ds2edge.errors import ConfigError, DataError
from ds2edge.training.augmentation import rooms
from ds2edge.training.augmentation.band import limit_band
from ds2edge.training.augmentation.chain import Banks, Effects, Noise, apply, augment, draw
from ds2edge.training.augmentation.codecs import KBIT_MP3, Codec, through_codec
from ds2edge.training.augmentation.level import active_power, power
from ds2edge.training.augmentation.noise import (
    NoiseBank,
    Piece,
    add_noise,
    noise_bank,
    noise_of,
    read_noise,
    stretch,
)
from ds2edge.training.augmentation.rooms import in_room, simulate
from ds2edge.training.augmentation.vocal_tract import move_formants
from ds2edge.training.config import AugmentConfig, NoiseCorpus
from ds2edge.training.data.feature_cache import Change, write_rows

RATE = 16_000
CODECS = [
    *(Codec("mp3", kbit) for kbit in (KBIT_MP3[0], KBIT_MP3[2], KBIT_MP3[-1])),
    Codec("opus", 16),
    Codec("telephone", 64),
]
PIECES = (Piece(0, 0.5),)
EVERYTHING = (
    Effects(vocal_tract=1.08),
    Effects(noise=Noise((Piece(0, 0.1), Piece(1, 0.9)), 5.0)),
    Effects(band=(200.0, 3000.0)),
    *(Effects(codec=codec) for codec in CODECS),
)


@pytest.fixture(scope="module")
def spoken() -> Any:
    return read_audio(RECORDINGS[0], RATE)[: 3 * RATE]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> NoiseBank:
    """Two recordings of noise, a long one and one of a fifth of a second."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("noise")
    clips = [rng.normal(size=(n, 1)).astype(np.float32) for n in (5 * RATE, RATE // 5)]
    write_rows(folder, "bank", 1, clips)
    return NoiseBank(folder, "bank")


def lag(one: Any, other: Any) -> float:
    """Seconds by which the second is later."""
    size = 1 << 17
    product = np.fft.rfft(other, size) * np.conj(np.fft.rfft(one, size))
    found = int(np.argmax(np.fft.irfft(product)))
    return (found - size if found > size // 2 else found) / RATE


# ---- noise


@pytest.mark.parametrize("snr", [0.0, 12.5, 30.0])
def test_the_ratio_is_the_one_that_was_drawn(spoken: Any, bank: NoiseBank, snr: float) -> None:
    noisy = apply(spoken, RATE, Effects(noise=Noise(PIECES, snr)), Banks(bank))
    added = noisy - spoken
    assert 10 * np.log10(active_power(spoken, RATE) / power(added)) == pytest.approx(snr, abs=0.05)


def test_pauses_do_not_count_as_speech(spoken: Any) -> None:
    paused = np.concatenate([spoken, np.zeros(10 * RATE, np.float32)])
    assert active_power(paused, RATE) == pytest.approx(active_power(spoken, RATE), rel=1e-3)
    assert power(paused) < 0.5 * power(spoken)


def test_silence_gets_no_noise_and_silent_noise_adds_nothing(spoken: Any, bank: NoiseBank) -> None:
    silence = np.zeros(RATE, np.float32)
    noise = noise_of(bank, PIECES, RATE, RATE)
    assert not add_noise(silence, noise, 0.0, RATE).any()
    assert add_noise(spoken, np.zeros_like(spoken), 0.0, RATE) is spoken


def test_pieces_are_as_loud_as_each_other(bank: NoiseBank) -> None:
    both = noise_of(bank, (Piece(0, 0.2), Piece(1, 0.2)), RATE, RATE)
    assert power(both) == pytest.approx(2.0, rel=0.05)


def test_a_short_recording_goes_round_without_a_step() -> None:
    clip = np.sin(np.arange(1000) * 0.05).astype(np.float32)  # ends where it does not begin
    long = stretch(clip, 5000, 0.3, 100)
    assert len(long) == 5000
    assert np.abs(np.diff(long)).max() < 0.1 < np.abs(np.diff(np.resize(clip, 5000))).max()
    assert len(stretch(clip[:1], 10, 0.5, 100)) == 10


def test_of_a_long_recording_any_part_is_taken() -> None:
    clip = np.arange(1000, dtype=np.float32)
    assert [stretch(clip, 100, offset, 10)[0] for offset in (0.0, 0.5, 1.0)] == [0, 450, 900]


def listed(folder: Path, sounds: dict[str, Any], split: str = "train") -> Path:
    folder.mkdir()
    for name, samples in sounds.items():
        soundfile.write(folder / name, samples, RATE)
    rows = "".join(f"{name}\t1\t\tx\t{split}\n" for name in [*sounds, "missing.wav"])
    (folder / "manifest.tsv").write_text(HEADER + rows)
    return folder


def test_what_cannot_be_heard_is_left_out(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loud = np.random.default_rng(0).normal(size=RATE) * 0.1
    listed(tmp_path / "noise", {"a.wav": np.zeros(RATE), "b.wav": loud})
    made = noise_bank(read_noise(tmp_path, [NoiseCorpus("noise")]), RATE)
    assert made.usable == (1,)
    # Kept at another level, which `noise_of` takes out again.
    got = noise_of(made, (Piece(1, 0.0),), RATE, RATE)
    np.testing.assert_allclose(got / got.std(), loud / loud.std(), atol=0.01)
    assert "2 of 3 recordings of noise" in caplog.text
    listed(tmp_path / "silent", {"a.wav": np.zeros(RATE)})
    with pytest.raises(DataError, match=r"2 of 2 recordings of noise .*silent/manifest.tsv, line"):
        noise_bank(read_noise(tmp_path, [NoiseCorpus("silent")]), RATE)


def test_noise_for_testing_is_refused(tmp_path: Path) -> None:
    listed(tmp_path / "noise", {}, "test")
    with pytest.raises(ConfigError, match="augmentation must not see the test split"):
        read_noise(tmp_path, [NoiseCorpus("noise", "test")])
    with pytest.raises(DataError, match="has no recording of split 'train'"):
        read_noise(tmp_path, [NoiseCorpus("noise")])


# ---- rooms


@pytest.fixture(scope="module")
def response() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "REVERBERATION", (0.12, 0.25))  # soon computed
        seconds, found = simulate(np.random.default_rng(1), RATE)
        again = simulate(np.random.default_rng(1), RATE)[1]
    assert 0.12 <= seconds <= 0.25
    assert np.array_equal(found, again)
    return found


def test_a_room_keeps_the_direct_sound_the_length_and_the_level(spoken: Any, response: Any) -> None:
    click = np.zeros(RATE, np.float32)
    click[1000] = 0.5
    heard = in_room(click, response, RATE)
    assert int(np.argmax(np.abs(heard))) == 1000
    assert np.abs(heard[:1000]).max() < 1e-6  # nothing before it
    assert np.abs(heard[1100:2000]).max() > 0.01 * heard[1000]  # walls
    far = in_room(spoken, response, RATE)
    assert len(far) == len(spoken)
    assert abs(lag(spoken, far)) < 0.001
    assert active_power(far, RATE) == pytest.approx(active_power(spoken, RATE), rel=1e-3)


# ---- codecs and bands


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_a_codec_keeps_length_times_and_level(spoken: Any, codec: Codec) -> None:
    quiet = 0.01 * spoken
    came = through_codec(quiet, codec, RATE)
    assert len(came) == len(quiet)
    assert abs(lag(quiet, came)) < 0.005
    assert power(came) == pytest.approx(power(quiet), rel=0.5)
    assert not np.array_equal(came, quiet)


def test_a_codec_works_at_other_rates(spoken: Any) -> None:
    slow = spoken[::2].copy()
    for codec in CODECS[1::2]:
        assert len(through_codec(slow, codec, RATE // 2)) == len(slow)


def loudness(samples: Any, low: float, high: float) -> float:
    """Power between two frequencies, in dB of the whole."""
    powers = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(10 * np.log10(powers[(low <= hertz) & (hertz < high)].sum() / powers.sum()))


def test_a_telephone_leaves_nothing_above_3600_hz() -> None:
    white = 0.1 * np.random.default_rng(0).normal(size=2 * RATE).astype(np.float32)
    came = through_codec(white, Codec("telephone", 64), RATE)
    assert loudness(came, 3600, 8000) < -40
    assert loudness(came, 0, 200) < -40
    assert loudness(came, 400, 3300) > -1


@pytest.mark.parametrize(
    ("band", "lost", "kept"),
    [
        ((0.0, 3000.0), (3300, 8000), (0, 2900)),
        ((400.0, float("inf")), (0, 250), (450, 8000)),
        ((300.0, 2000.0), (2300, 8000), (350, 1900)),
    ],
)
def test_a_band_is_what_is_left(
    band: tuple[float, float], lost: tuple[float, float], kept: tuple[float, float]
) -> None:
    white = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    heard = limit_band(white, band, RATE)
    assert loudness(heard, *lost) < -40
    assert loudness(heard, *kept) > -1
    assert abs(lag(white, heard)) < 1e-4
    assert limit_band(white, (0.0, float("inf")), RATE) is white


# ---- vocal tract


def vowel(formants: tuple[float, ...], pitch: float) -> Any:
    """Pulses through resonators."""
    from scipy.signal import lfilter

    samples = np.zeros(RATE)
    samples[:: round(RATE / pitch)] = 1.0
    for formant in formants:
        radius = np.exp(-np.pi * 80 / RATE)
        turn = 2 * np.pi * formant / RATE
        samples = lfilter([1.0], [1.0, -2 * radius * np.cos(turn), radius**2], samples)
    return (samples / np.abs(samples).max()).astype(np.float32)


def formants_of(samples: Any) -> list[float]:
    """Where linear prediction finds narrow resonances, in Hz."""
    middle = samples[RATE // 4 : 3 * RATE // 4] * np.hanning(RATE // 2)
    lags = np.correlate(middle, middle, "full")[len(middle) - 1 :][:13]
    table = lags[np.abs(np.subtract.outer(np.arange(12), np.arange(12)))]
    roots = np.roots([1, *-np.linalg.solve(table + 1e-9 * np.eye(12), lags[1:])])
    found = [r for r in roots if r.imag > 0 and abs(r) > 0.93]
    return sorted(float(np.angle(r) * RATE / 2 / np.pi) for r in found)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_formants_move_and_the_pitch_does_not(factor: float) -> None:
    said = vowel((700.0, 1200.0, 2600.0), 125.0)
    moved = move_formants(said, factor, RATE)
    assert len(moved) == len(said)
    before, after = formants_of(said), formants_of(moved)
    assert len(before) == len(after) == 3
    ratios = np.array(after) / before
    assert np.abs(ratios - factor).max() < 0.035
    powers = np.abs(np.fft.rfft(moved * np.hanning(RATE))) ** 2  # of a second: a bin is 1 Hz
    harmonics = sum(powers[shift::125].sum() for shift in (0, 1, 2, 123, 124))
    assert harmonics > 0.99 * powers.sum()


def test_the_same_vocal_tract_is_the_same_sound(spoken: Any) -> None:
    assert move_formants(spoken, 1.0, RATE) is spoken
    np.testing.assert_allclose(move_formants(spoken, 1 + 1e-6, RATE), spoken, atol=1e-3)


# ---- all of them


@pytest.mark.parametrize("effects", EVERYTHING, ids=str)
def test_silence_stays_silence_and_nothing_is_nan(
    effects: Effects, spoken: Any, bank: NoiseBank
) -> None:
    banks = Banks(bank)
    for samples in (
        np.zeros(8000, np.float32),
        spoken[:1],
        spoken[:0],
        spoken[:8001],
        1.5 * spoken,
    ):
        done = apply(samples, RATE, effects, banks)
        assert done.dtype == np.float32
        assert len(done) == len(samples)
        assert np.isfinite(done).all()
        assert samples.any() or not done.any()


def test_effects_come_one_after_the_other(spoken: Any, bank: NoiseBank) -> None:
    effects = Effects(speed=1.1, noise=Noise(PIECES, 10.0), band=(0.0, 3000.0), gain=-6.0)
    done = apply(spoken, RATE, effects, Banks(bank))
    assert len(done) == round(len(spoken) / 1.1)
    assert loudness(done, 3300, 8000) < -40  # of the noise, too
    quiet = apply(spoken, RATE, Effects(gain=-6.0), Banks())
    np.testing.assert_allclose(quiet, spoken * 10 ** (-6 / 20), rtol=1e-6)
    assert np.array_equal(apply(spoken, RATE, Effects(), Banks()), spoken)


def test_as_much_is_drawn_as_was_asked_for(bank: NoiseBank) -> None:
    settings = AugmentConfig(
        noise=(NoiseCorpus("x"),), codec_share=0.2, band_share=0.1, vocal_tract=(0.9, 1.1)
    )
    change = Change(1.0, (-10.0, 5.0))
    drawn = [
        draw(settings, Banks(bank), change, np.random.default_rng([1, i])) for i in range(2000)
    ]
    noises = [effects.noise for effects in drawn if effects.noise]
    assert len(noises) / 2000 == pytest.approx(0.4, abs=0.03)
    assert sum(bool(e.codec) for e in drawn) / 2000 == pytest.approx(0.2, abs=0.03)
    assert sum(bool(e.band) for e in drawn) / 2000 == pytest.approx(0.1, abs=0.03)
    ratios = np.array([noise.snr for noise in noises])
    counts = np.histogram(ratios, 3, (0, 30))[0]
    assert counts.sum() == len(ratios)
    assert counts.min() > 0.25 * len(ratios)
    assert {len(noise.pieces) for noise in noises} == {1, 2}
    assert {piece.clip for noise in noises for piece in noise.pieces} == {0, 1}
    assert {e.codec.name for e in drawn if e.codec} == {"mp3", "opus", "telephone"}
    assert all(0.9 <= e.vocal_tract <= 1.1 and -10 <= e.gain <= 5 for e in drawn)
    assert not any(e.room for e in drawn)
    # Of one effect the same is drawn, whatever the share of another.
    more = replace(settings, codec_share=1.0)
    again = draw(more, Banks(bank), change, np.random.default_rng([1, 0]))
    assert replace(again, codec=None) == replace(drawn[0], codec=None)


def test_the_same_numbers_make_the_same_sound(spoken: Any, bank: NoiseBank) -> None:
    settings = AugmentConfig(noise=(NoiseCorpus("x"),), noise_share=1.0, vocal_tract=(0.9, 1.1))
    one, same, other = (
        augment(spoken, RATE, settings, Banks(bank), Change(), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"noise_share": 1.5}, "augment.noise_share needs 0 to 1, got 1.5"),
        ({"room_share": float("nan")}, "augment.room_share needs 0 to 1"),
        ({"snr": (30.0, 0.0)}, "augment.snr needs two numbers from -20 to 60, rising"),
        ({"snr": (0.0,)}, "augment.snr needs two numbers"),
        ({"vocal_tract": (0.1, 1.0)}, "augment.vocal_tract needs two numbers from 0.7 to 1.4"),
        ({"codecs": ()}, "augment.codecs names no codec"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AugmentConfig(**settings)


def test_without_noise_nothing_is_done_to_the_sound() -> None:
    assert not AugmentConfig().of_sound
    assert not AugmentConfig(noise=(NoiseCorpus("x"),), noise_share=0.0).of_sound
    for settings in ({"noise": (NoiseCorpus("x"),)}, {"band_share": 0.1}, {"room_share": 0.1}):
        assert AugmentConfig(**settings).of_sound  # type: ignore[arg-type]
