"""The programs in examples/. What needs ffmpeg, a screen or a sound server is tested in
test_examples_system.py."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import RECORDINGS, SPEECH
from example_programs import (
    FOLDER,
    command,
    interrupt,
    line_with,
    microphone_of,
    program_in,
    run,
    started,
)
from sound_server import until
from terminal import Terminal

from ds2edge import Final, StreamOptions, Transcriber, Word
from ds2edge.audio_file import read_audio

EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
WOMAN = SPEECH / "2428-83705-0017.mp3"
LET_HIM_ENTER = SPEECH / "2902-9008-0016.mp3"
RATE = 16_000  # Hz


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_says_how_to_run_it(example: str) -> None:
    source = (FOLDER / f"{example}.py").read_text()
    doc = source.split('"""')[1]
    assert f"\npython examples/{example}.py" in doc
    named = re.findall(r"tests/data/[\w./-]+\w", doc)
    assert all((FOLDER.parent / name).exists() for name in named)
    assert f"`python examples/{example}.py" in (FOLDER / "README.md").read_text()
    if example != "captions":  # it needs Tk for that
        code, out, err = run(example, "--help")
        assert (code, err) == (0, "")
        assert doc.splitlines()[0] in " ".join(out.split())


@pytest.mark.parametrize("example", ["transcribe_file", "many_streams", "voice_commands"])
def test_a_file_that_cannot_be_read(example: str, tmp_path: Path) -> None:
    missing, text = tmp_path / "missing.wav", tmp_path / "text.wav"
    text.write_text("this is no sound")
    said = f"{example}: cannot read {missing}: No such file or directory\n"
    assert run(example, missing) == (1, "", said)
    code, out, err = run(example, text)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"{example}: {text} is not a readable recording")


@pytest.mark.parametrize("example", ["transcribe_file", "many_streams"])
def test_ctrl_c_while_a_file_is_read(example: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    with started(example, pipe) as process:
        writer = open_for_reader(pipe)
        process.send_signal(signal.SIGINT)
        os.close(writer)  # libsndfile waits for data, and returns to Python
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", "")


def open_for_reader(pipe: Path) -> int:
    """A file descriptor, as soon as somebody reads."""
    opened: list[int] = []

    def is_read() -> bool:
        try:
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads
            return False
        return True

    until(is_read)
    return opened[0]


@pytest.mark.parametrize("example", ["microphone", "voice_commands"])
@pytest.mark.parametrize(
    ("failure", "remedy"),
    [
        ("raise ImportError('no sounddevice')", "pip install 'ds2edge[mic]' (no sounddevice)"),
        ("raise OSError('PortAudio library not found')", "apt-get install libportaudio2"),
    ],
)
def test_what_a_microphone_needs_is_missing(
    example: str, failure: str, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / "sounddevice.py").write_text(failure)
    code, out, err = run(example, environment={"PYTHONPATH": str(tmp_path)})
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith(f"{example}: a microphone needs")
    assert last.endswith(remedy)
    assert "Traceback" not in err


# transcribe_file.py


@pytest.mark.parametrize("recording", RECORDINGS[::2], ids=lambda path: path.stem)
def test_a_file_to_words_with_times(transcriber: Transcriber, recording: Path) -> None:
    code, out, err = run("transcribe_file", recording)
    transcript = transcriber.transcribe(recording)
    text, *rows = out.splitlines()
    assert (code, err, text) == (0, "", transcript.text)
    shown = [(row.split()[-1], float(row.split()[0]), float(row.split()[3])) for row in rows]
    expected = [(w.text, round(w.start, 2), round(w.end, 2)) for w in transcript.words]
    assert shown == expected


# microphone.py


def test_a_microphone_that_is_unplugged_and_comes_back(transcriber: Transcriber) -> None:
    heard = [WOMAN, LET_HIM_ENTER]
    with started("microphone", environment=microphone_of(*heard)) as process:
        said = [line_with("", process.stdout) for _ in heard]
        code, out, err = interrupt(process)
    silence = np.zeros(RATE, np.float32)  # goes on after the last recording
    last = np.concatenate([read_audio(LET_HIM_ENTER, RATE), silence])
    assert said == [transcriber.transcribe(WOMAN).text, transcriber.transcribe(last, RATE).text]
    assert (code, out) == (0, "")
    first, gone, again = err.splitlines()
    assert first == again == "listening to Desk"
    assert gone.startswith("the microphone 'Desk' is gone: it was unplugged")


def test_a_terminal_shows_what_may_still_change(transcriber: Transcriber) -> None:
    final = transcriber.transcribe(WOMAN).text
    environment = {**os.environ, **microphone_of(WOMAN)}
    with Terminal(command("microphone"), environment) as terminal:
        terminal.read(30, awaited=f"{final}\r\n")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read(30)
        assert terminal.process.wait(30) == 0
    # Blocks have at most a second, and each partial stands in the line of the one before.
    written = terminal.written.split("\r\n")[1]
    first, *partials, last = written.split("\r\x1b[K")
    assert (first, last) == ("", final)
    assert len(partials) >= 3
    assert all(partials)


# voice_commands.py


def test_a_command_is_obeyed_and_the_rest_ignored(transcriber: Transcriber) -> None:
    options = StreamOptions(vocabulary=["let him enter"], unknown=5)
    assert re.fullmatch(
        r"(<unk> )+let him enter", transcriber.transcribe(LET_HIM_ENTER, options=options).text
    )
    obeyed = "let him enter: lights 0 %, door open\n"
    assert run("voice_commands", LET_HIM_ENTER) == (0, obeyed, "")
    assert run("voice_commands", WOMAN) == (0, "", "")


def test_commands_from_the_microphone() -> None:
    with started("voice_commands", environment=microphone_of(LET_HIM_ENTER)) as process:
        assert line_with("", process.stdout) == "let him enter: lights 0 %, door open"
        code, out, err = interrupt(process)
    assert (code, out, err.count("\n")) == (0, "", 1)
    assert err.startswith("say: lights on, ")


def test_several_commands_in_a_breath(capsys: pytest.CaptureFixture[str]) -> None:
    path = FOLDER / "voice_commands.py"
    spec = importlib.util.spec_from_file_location("voice_commands", path)
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    said = ["<unk>", "lights", "on", "a", "little", "darker", "<unk>", "<unk>"]
    example.obey([Final(0, tuple(Word(word, 0.0, 1.0, 1.0) for word in said), 0.0, 1.0)])
    assert capsys.readouterr().out.splitlines() == [
        "lights on: lights 100 %, door closed",
        "a little darker: lights 80 %, door closed",
    ]


# captions.py


def test_captions_without_tk(tmp_path: Path) -> None:
    (tmp_path / "tkinter.py").write_text("raise ImportError")
    said = "captions: needs Tk; on Debian: sudo apt-get install python3-tk\n"
    assert run("captions", environment={"PYTHONPATH": str(tmp_path)}) == (1, "", said)


# many_streams.py


def test_many_streams_keep_their_order(transcriber: Transcriber) -> None:
    transcripts = [transcriber.transcribe(recording) for recording in RECORDINGS]
    lines = [f"{r}: {t.text}" for r, t in zip(RECORDINGS, transcripts, strict=True)]
    code, out, err = run("many_streams", "--threads", 3, *RECORDINGS, *RECORDINGS)
    assert (code, out.splitlines()) == (0, lines + lines)
    seconds = 2 * sum(transcript.duration for transcript in transcripts)
    assert re.fullmatch(rf"{seconds:.1f} s of audio, [1-9]\d* s of it a second\n", err)


def test_many_streams_need_a_thread() -> None:
    said = "many_streams: max_workers must be greater than 0\n"
    assert run("many_streams", "--threads", 0, WOMAN) == (1, "", said)


# asyncio_server.py


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The program as a server, and its port."""
    with started("asyncio_server", "--port", 0) as process:
        yield process, int(line_with("listening on 127.0.0.1:", process.stdout).split(":")[1])


def as_int16(recording: Path) -> np.ndarray:
    return (read_audio(recording, RATE) * 32767).clip(-32768, 32767).astype("<i2")


def test_several_clients_at_once(
    server: tuple[subprocess.Popen[str], int], transcriber: Transcriber
) -> None:
    process, port = server
    texts = [transcriber.transcribe(as_int16(r), 16_000).text for r in RECORDINGS]
    expected = [f"{r}: {text}" for r, text in zip(RECORDINGS, texts, strict=True)]
    code, out, err = run("asyncio_server", "--port", port, *RECORDINGS)
    assert (code, out.splitlines(), err) == (0, expected, "")
    assert interrupt(process) == (130, "", "")


def test_the_protocol(server: tuple[subprocess.Popen[str], int], transcriber: Transcriber) -> None:
    process, port = server
    spoken = as_int16(LET_HIM_ENTER)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"16000\n" + spoken[:33_000].tobytes())
        with client.makefile() as lines:
            partial = json.loads(lines.readline())  # while it is still spoken
            assert (partial["final"], bool(partial["text"])) == (False, True)
            client.sendall(spoken[33_000:].tobytes() + b"?")  # half a sample too much
            client.shutdown(socket.SHUT_WR)
            *_, final = map(json.loads, lines)
    assert final == {"final": True, "text": transcriber.transcribe(spoken, 16_000).text}

    for rate, said in [(b"10", "from 1000 to 768000"), (b"fast", "invalid literal")]:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(rate + b"\n")
            (answer,) = map(json.loads, client.makefile())
        assert said in answer["error"]

    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"16000\n" + spoken[:33_000].tobytes())
        assert client.recv(1)
        assert interrupt(process) == (130, "", "")  # although somebody speaks


def test_a_client_that_goes_away_is_no_trouble(
    server: tuple[subprocess.Popen[str], int], transcriber: Transcriber
) -> None:
    process, port = server
    spoken = as_int16(LET_HIM_ENTER)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"16000\n" + spoken.tobytes())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
    assert run("asyncio_server", "--port", port, WOMAN)[0] == 0
    assert interrupt(process) == (130, "", "")


def test_a_client_without_server_or_file(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        port = deaf.getsockname()[1]
        code, out, err = run("asyncio_server", "--port", port, WOMAN)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("asyncio_server: ")
        assert str(port) in err
    missing = tmp_path / "missing.wav"
    said = f"asyncio_server: cannot read {missing}: No such file or directory\n"
    assert run("asyncio_server", missing, missing) == (1, "", said)


def test_a_port_that_cannot_be_had(server: tuple[subprocess.Popen[str], int]) -> None:
    code, out, err = run("asyncio_server", "--port", server[1])
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "address already in use" in err
    said = "asyncio_server: bind(): port must be 0-65535.\n"
    assert run("asyncio_server", "--port", 99999) == (1, "", said)


# video_subtitles.py


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "holiday.mp4"
    path.write_bytes(b"\0")
    return path


def test_subtitles_without_ffmpeg(video: Path, tmp_path: Path) -> None:
    said = "video_subtitles: needs ffmpeg; on Debian: sudo apt-get install ffmpeg\n"
    assert run("video_subtitles", video, environment={"PATH": str(tmp_path)}) == (1, "", said)


def test_subtitles_of_no_video(tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"
    said = f"video_subtitles: there is no file {missing}\n"
    assert run("video_subtitles", missing) == (1, "", said)


def test_subtitles_that_are_there_are_not_replaced(video: Path, tmp_path: Path) -> None:
    srt = video.with_suffix(".srt")
    srt.write_text("mine")
    program_in(tmp_path, "ffmpeg", "exit 1")
    said = f"video_subtitles: {srt} is there already; -o {srt} replaces it\n"
    assert run("video_subtitles", video, environment={"PATH": str(tmp_path)}) == (1, "", said)
    assert srt.read_text() == "mine"


def test_subtitles_when_ffmpeg_fails(video: Path, tmp_path: Path) -> None:
    program_in(tmp_path, "ffmpeg", "echo first >&2; echo it is broken >&2; exit 69")
    code, out, err = run("video_subtitles", video, environment={"PATH": str(tmp_path)})
    assert (code, out) == (1, "")
    assert err == "video_subtitles: ffmpeg failed: it is broken\n"
    assert not video.with_suffix(".srt").exists()


def test_ctrl_c_ends_ffmpeg_too(video: Path, tmp_path: Path) -> None:
    running = tmp_path / "running"
    script = f"head -c 96000 /dev/zero; echo $$ > {running}.new; mv {running}.new {running}\n"
    program_in(tmp_path, "ffmpeg", f"{script} exec sleep 60")
    path = f"{tmp_path}:{os.defpath}"
    with started("video_subtitles", video, environment={"PATH": path}) as process:
        until(running.exists)
        assert interrupt(process) == (130, "", "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(running.read_text()), 0)
    assert not video.with_suffix(".srt").exists()
