"""Files and buffers of every kind become the same mono samples, and bad ones say why."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge.audio import SampleInput
from ds2edge.audio_file import open_audio, read_audio
from ds2edge.errors import AudioError, StreamError

SPEECH = Path(__file__).parent / "data" / "speech"
RECORDING = SPEECH / "2428-83705-0017.mp3"
RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)
RECORDED, RECORDED_RATE = soundfile.read(RECORDING, dtype="float32")


def noise(count: int, channels: int = 0) -> np.ndarray:
    shape = (count, channels) if channels else (count,)
    return np.random.default_rng(count).uniform(-1, 1, shape).astype(np.float32)


def convert_all(pieces: list, rate: float, **how: object) -> np.ndarray:
    converter = SampleInput(rate, 16_000)
    results = [converter.convert(piece, **how) for piece in pieces]
    return np.concatenate([*results, converter.finish()])


# ---- streams ----


@pytest.mark.parametrize("rate", RATES)
@given(cuts=st.lists(st.integers(0, 30_000), max_size=12))
@settings(max_examples=25)
def test_pieces_do_not_matter(rate, cuts):
    samples = soxr.resample(RECORDED, RECORDED_RATE, rate)[:30_000]
    whole = convert_all([samples], rate)
    assert np.array_equal(convert_all(np.split(samples, sorted(cuts)), rate), whole)


@pytest.mark.parametrize("rate", RATES)
def test_single_samples_and_empty_pieces(rate):
    samples = noise(3_000)
    pieces = [piece for k in range(3_000) for piece in (samples[k : k + 1], samples[:0])]
    assert np.array_equal(convert_all(pieces, rate), convert_all([samples], rate))


@given(channels=st.integers(1, 9), cuts=st.lists(st.integers(0, 2_000), max_size=6))
@settings(max_examples=30)
def test_channels_are_averaged_alike_in_any_memory_order(channels, cuts):
    samples = noise(2_000, channels)
    whole = convert_all([samples], 16_000)
    np.testing.assert_allclose(whole, samples.mean(axis=1), atol=1e-6)
    pieces = np.split(np.asfortranarray(samples), sorted(cuts))
    assert np.array_equal(convert_all(pieces, 16_000), whole)


@pytest.mark.parametrize("rate", RATES)
def test_length_and_seconds(rate):
    converter = SampleInput(rate, 16_000)
    made = len(converter.convert(noise(rate))) + len(converter.finish())
    assert made == pytest.approx(16_000, abs=1)
    assert converter.seconds == pytest.approx(1.0)


def test_the_resampler_keeps_a_tone_and_its_end():
    time = np.arange(48_000) / 48_000
    tone = convert_all([np.sin(2 * np.pi * 440 * time)], 48_000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(tone[200:-200], expected[200:-200], atol=1e-3)
    assert np.abs(tone[-100:]).max() > 0.5


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50))
def test_all_dtypes_mean_the_same(values):
    int16 = np.array(values, np.int16)
    expected = (int16 / 2**15).astype(np.float32)
    same = [int16, int16.astype(np.int32) * 2**16, expected, expected.astype(np.float64)]
    same += [int16.astype(">i2"), int16[:, None], np.repeat(int16, 2)[::2]]
    for samples in same:
        assert np.array_equal(convert_all([samples], 16_000), expected)
        assert convert_all([samples], 16_000).dtype == np.float32


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_bytes_with_their_dtype(wrap, dtype):
    samples = (noise(100) * 1000).astype(dtype) / (1 if "int" in dtype else 1000)
    samples = samples.astype(dtype)
    expected = convert_all([samples], 16_000)
    data = wrap(samples.tobytes())
    assert np.array_equal(convert_all([data], 16_000, dtype=dtype), expected)


def test_interleaved_bytes():
    samples = noise(100, 2)
    stereo = convert_all([samples.tobytes()], 16_000, dtype="float32", channels=2)
    assert np.array_equal(stereo, convert_all([samples], 16_000))


def test_the_callers_samples_are_copied():
    samples = noise(10)
    result = SampleInput(16_000, 16_000).convert(samples)
    samples[:] = 0
    assert result.any()


BAD_SAMPLES = {
    "NaN": (np.array([0, np.nan, 0]), {}, "finite numbers, got nan at sample 1"),
    "infinity": (np.array([0, -np.inf], np.float32), {}, "finite numbers, got -inf at sample 1"),
    "too large": (np.array([1e30]), {}, r"within -1\.\.1, got 1e\+30"),
    "uint8": (np.zeros(3, np.uint8), {}, "int16, int32, float32 or float64, got uint8"),
    "float16": (np.zeros(3, np.float16), {}, "got float16"),
    "complex": (np.zeros(3, np.complex64), {}, "got complex64"),
    "objects": (np.array([None]), {}, "got object"),
    "text": (np.array(["a"]), {}, "got str"),
    "no array": ([0.0, 1.0], {}, "a NumPy array, or bytes with dtype=, got list"),
    "nothing": (None, {}, "got NoneType"),
    "no axis": (np.zeros(()), {}, r"shape \(n,\) or \(n, channels\), got \(\)"),
    "three axes": (np.zeros((2, 3, 4)), {}, r"got \(2, 3, 4\)"),
    "no channels": (np.zeros((5, 0)), {}, r"got \(5, 0\)"),
    "transposed": (np.zeros((2, 480)), {}, r"got \(2, 480\); transpose"),
    "wrong claim": (np.zeros(4, np.int16), {"dtype": "float32"}, "dtype=float32 .* int16"),
    "bytes alone": (b"1234", {}, "bytes need dtype="),
    "odd bytes": (b"123", {"dtype": "int16"}, "multiple of 2 bytes, got 3"),
    "half a frame": (b"123456", {"dtype": "int16", "channels": 2}, "multiple of 4 bytes, got 6"),
    "bytes dtype": (b"1234", {"dtype": "uint8"}, "got dtype=uint8"),
    "no dtype": (b"1234", {"dtype": "sixteen"}, "got dtype='sixteen'"),
    "bytes channels": (b"1234", {"dtype": "int16", "channels": 0}, "from 1 to 64, got 0"),
    "strided bytes": (memoryview(b"12345678")[::2], {"dtype": "int16"}, "cannot be read as bytes"),
    "other channels": (np.zeros((3, 2)), {}, "the stream has 1 channel, got 2"),
}


@pytest.mark.parametrize("name", BAD_SAMPLES)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_bad_samples_leave_the_stream_intact(name, rate):
    samples, how, message = BAD_SAMPLES[name]
    good = noise(500)
    converter = SampleInput(rate, 16_000)
    made = [converter.convert(good)]
    with pytest.raises(AudioError, match=message):
        converter.convert(samples, **how)
    assert converter.seconds == pytest.approx(500 / rate)
    made += [converter.convert(good), converter.finish()]
    assert np.array_equal(np.concatenate(made), convert_all([good, good], rate))


def test_bad_first_samples_do_not_settle_the_channels():
    converter = SampleInput(16_000, 16_000)
    with pytest.raises(AudioError, match="finite"):
        converter.convert(np.full((3, 2), np.nan))
    converter.convert(np.zeros((0, 2)))
    assert len(converter.convert(noise(5))) == 5


RATES_TO_REFUSE = [None, 0, -16_000, 999, 768_001, float("nan"), float("inf"), "16000", True, 1j]


@pytest.mark.parametrize("rate", RATES_TO_REFUSE)
def test_bad_rates(rate):
    with pytest.raises(AudioError, match="sample_rate"):
        SampleInput(rate, 16_000)


@pytest.mark.parametrize("rate", [1_000, 768_000, 44_100.0, np.int32(8_000), np.float32(22_050)])
def test_unusual_rates(rate):
    assert len(convert_all([noise(2_000)], rate)) == pytest.approx(2_000 * 16_000 / rate, abs=1)


def test_a_finished_stream_takes_nothing():
    converter = SampleInput(48_000, 16_000)
    converter.finish()
    with pytest.raises(StreamError, match="finished"):
        converter.convert(noise(3))
    with pytest.raises(StreamError, match="finished"):
        converter.finish()


# ---- files ----

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "ulaw.wav": ("WAV", "ULAW"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "ogg": ("OGG", "VORBIS"),
    "aiff": ("AIFF", "PCM_24"),
}
LOSSLESS = ("wav", "float.wav", "flac", "aiff")


def write(path: Path, samples: np.ndarray, rate: int, kind: str = "wav") -> Path:
    container, subtype = FORMATS[kind]
    soundfile.write(path, samples, rate, format=container, subtype=subtype)
    return path


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_formats_rates_and_channels(tmp_path, kind, rate, channels):
    if (kind, rate) == ("opus", 44_100):
        rate = 24_000  # Opus has no 44.1 kHz
    speech = soxr.resample(RECORDED, RECORDED_RATE, rate)
    samples = np.stack([speech, speech * 0.5], axis=1)[:, :channels]
    path = write(tmp_path / f"speech.{kind}", samples, rate, kind)
    result = read_audio(path, 16_000)
    expected = convert_all([samples], rate)
    assert len(result) == pytest.approx(len(expected), abs=1)
    if kind in LOSSLESS:
        np.testing.assert_allclose(result, expected, atol=1e-4)
    else:
        assert np.corrcoef(result[: len(expected)], expected[: len(result)])[0, 1] > 0.9


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("seconds", [0.01, 0.3, 100.0])
def test_blocks_of_any_length_hold_the_same(tmp_path, kind, seconds):
    path = write(tmp_path / "speech", RECORDED, RECORDED_RATE, kind)
    with open_audio(path) as file:
        assert (file.sample_rate, file.channels) == (16_000, 1)
        assert file.seconds == pytest.approx(4.99, abs=0.1)
        blocks = list(file.blocks(seconds))
    assert all(block.shape == (len(block), 1) for block in blocks)
    assert max(map(len, blocks)) <= round(seconds * 16_000)
    assert np.array_equal(np.concatenate(blocks)[:, 0], read_audio(path, 16_000))


@pytest.mark.parametrize("path", sorted(SPEECH.glob("*.*3")) + sorted(SPEECH.glob("*.opus")))
def test_recordings_read_as_soundfile_reads_them_whole(path):
    expected, rate = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(read_audio(path, rate), expected, atol=1e-6)


def test_a_flac_that_does_not_know_its_length(tmp_path):
    path = write(tmp_path / "piped.flac", noise(16_000), 16_000, "flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with open_audio(path) as file:
        assert file.seconds == 0
    assert len(read_audio(path, 16_000)) == 16_000


@pytest.mark.parametrize("kind", [*FORMATS])
def test_a_pipe(tmp_path, kind):
    path, pipe = write(tmp_path / "speech", RECORDED, RECORDED_RATE, kind), tmp_path / "pipe"
    os.mkfifo(pipe)
    before = len(os.listdir("/proc/self/fd"))
    writer = Thread(target=pipe.write_bytes, args=(path.read_bytes(),))
    writer.start()
    assert np.array_equal(read_audio(pipe, 16_000), read_audio(path, 16_000))
    writer.join()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_flac_in_a_pipe_that_ends_early_or_finds_no_room(tmp_path, monkeypatch):
    data = write(tmp_path / "a.flac", RECORDED, RECORDED_RATE, "flac").read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def read():
        Thread(target=pipe.write_bytes, args=(data[: len(data) // 2],), daemon=True).start()
        read_audio(pipe, 16_000)

    with pytest.raises(AudioError, match=r"pipe is damaged or cut short: the 4\.99 s"):
        read()
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(shutil, "copyfileobj", Mock(side_effect=full))
    with pytest.raises(AudioError, match=r"pipe in a temporary file: No space left .* TMPDIR"):
        read()


def test_the_name_does_not_matter(tmp_path):
    path = write(tmp_path / "speech.raw", noise(1_000), 16_000)
    assert len(read_audio(str(path), 16_000)) == 1_000
    odd = tmp_path / os.fsdecode(b"\xff \n.txt")
    os.replace(path, odd)
    assert len(read_audio(odd, 16_000)) == 1_000


BAD_FILES = {
    "missing": (None, "No such file"),
    "folder": (..., "Is a directory"),
    "empty": (b"", r"is empty \(0 bytes\)"),
    "text": (b"not a recording\n" * 100, "is not a readable recording .* needed: WAV, FLAC, MP3"),
    "zeros": (bytes(10_000), "is not a readable recording"),
    "header only": (b"RIFF\x10\0\0\0WAVE", "is not a readable recording"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("ending", ["wav", "mp3", "raw", "vox"])
def test_bad_files(tmp_path, name, ending):
    content, message = BAD_FILES[name]
    path = tmp_path / f"bad.{ending}"
    if content is ...:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as caught:
        read_audio(path, 16_000)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_flac(tmp_path, part):
    path = write(tmp_path / "cut.flac", RECORDED, RECORDED_RATE, "flac")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    message = r"is damaged or cut short: the 4\.99 s that its header promises cannot be read"
    with pytest.raises(AudioError, match=message):
        read_audio(path, 16_000)


def test_a_flac_cut_between_frames_which_libsndfile_takes_for_whole(tmp_path):
    path = write(tmp_path / "cut.flac", RECORDED, RECORDED_RATE, "flac")
    data = path.read_bytes()
    starts = [match.start() for match in re.finditer(rb"\xff[\xf8\xf9]", data)]
    assert len(starts) > 15
    for start in starts:
        path.write_bytes(data[:start])
        with pytest.raises(AudioError, match="is damaged or cut short"):
            read_audio(path, 16_000)


def test_a_flac_with_a_wrong_byte(tmp_path):
    path = write(tmp_path / "bad.flac", RECORDED, RECORDED_RATE, "flac")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(AudioError, match="is damaged or cut short"):
        read_audio(path, 16_000)


@pytest.mark.parametrize("kind", ["wav", "ogg", "aiff"])
def test_no_samples(tmp_path, kind):
    path = write(tmp_path / "none", noise(0), 16_000, kind)
    with pytest.raises(AudioError, match="has 0 samples"):
        read_audio(path, 16_000)


def test_not_a_number_in_a_file(tmp_path):
    samples = noise(100)
    samples[50] = np.nan
    path = write(tmp_path / "nan.wav", samples, 16_000, "float.wav")
    with pytest.raises(AudioError, match=r"nan\.wav: samples must be finite numbers, got nan"):
        read_audio(path, 16_000)


def test_no_permission(tmp_path):
    path = write(tmp_path / "secret.wav", noise(10), 16_000)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(AudioError, match="Permission denied"):
            read_audio(path, 16_000)
    finally:
        os.seteuid(user)


def test_files_are_closed(tmp_path):
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    text = tmp_path / "text.wav"
    text.write_text("text")
    for _ in range(20):
        read_audio(RECORDING, 16_000)
        with pytest.raises(AudioError):
            read_audio(text, 16_000)
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after == before
