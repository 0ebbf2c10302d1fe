"""Tables of one's own: CSV, TSV, lines of JSON, Kaldi's folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from import_corpora import record, said, sound, write

from ds2edge import cli
from ds2edge.training.data.manifest import Utterance, read_manifest


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A folder with two recordings, in `audio/`."""
    for number in (0, 1):
        record(tmp_path / f"calls/audio/{number}.wav", number)
    return tmp_path / "calls"


def rest(utterance: Utterance) -> tuple[str, str, str]:
    return utterance.text, utterance.speaker, utterance.split


def imported(layout: str, source: Path, *more: str) -> list[tuple[str, str, str, str]]:
    """Rows of the manifest: path from the source or as written, text, speaker, split."""
    folder = source.parent / "corpus"
    command = ["data", "import", layout, str(source), "-o", str(folder), "--jobs", "1"]
    assert cli.main([*command, "--dev-share", "0", *more]) == 0
    root = source if source.is_dir() else source.parent
    return [
        (str(u.path.resolve()).removeprefix(f"{folder}/").removeprefix(f"{root}/"), *rest(u))
        for u in read_manifest(folder / "manifest.tsv")
    ]


def test_csv_with_quotes_and_columns_of_other_names(calls: Path) -> None:
    write(
        calls / "list.csv",
        f'file;said;who;part\naudio/0.wav;"{said(0)}; ""really""";ann;train\n'
        f'audio/1.wav;"{said(1)}\nindeed";bob;valid\n',
    )
    columns = ("--path-column", "file", "--text-column", "said", "--speaker-column", "who")
    assert imported("table", calls, *columns, "--split-column", "part") == [
        ("audio/0.wav", f'{said(0)}; "really"', "ann", "train"),
        ("audio/1.wav", f"{said(1)} indeed", "bob", "dev"),
    ]


def test_tsv_of_a_name_that_tells_the_split(calls: Path) -> None:
    write(calls / "test.tsv", f"\ufeffpath\tsentence\tclient_id\naudio/0.wav\t{said(0)}\tx\n")
    write(calls / "dev.tsv", f"path\tsentence\r\naudio/1.wav\t{said(1)}\r\n")
    assert imported("table", calls) == [
        ("audio/1.wav", said(1), "", "dev"),
        ("audio/0.wav", said(0), "x", "test"),
    ]


def test_nemo_manifest_with_offsets_and_broken_lines(calls: Path) -> None:
    absolute = str(calls / "audio/1.wav")
    rows = [
        {"audio_filepath": "audio/0.wav", "duration": 1.5, "offset": 1, "text": "i am going sir"},
        {"audio_filepath": "audio/0.wav", "duration": 1.5, "offset": "x", "text": "no"},
        {"audio_filepath": absolute, "duration": 3.4, "text": said(1), "speaker": 7},
    ]
    lines = [*map(json.dumps, rows), "{", "[1]", '{"text": "no path"}']
    write(calls / "train_manifest.json", "\n".join(lines))
    assert imported("table", calls / "train_manifest.json") == [
        ("audio/0/audio_0.wav@1.000-41b92b3b.flac", "i am going sir", "", "train"),
        ("audio/1.wav", said(1), "", "train"),
    ]
    dropped = (calls / "corpus/dropped.tsv").read_text()
    assert dropped.count("that cannot be made sense of") == 4
    for detail in (
        "line 2: offset and duration must be seconds",
        "line 4: no JSON object",
        "line 5: no JSON object",
        "line 6: no audio_filepath",
    ):
        assert detail in dropped


def test_folder_of_hugging_face(calls: Path) -> None:
    write(calls / "train/metadata.csv", f'file_name,transcription\na.wav,"Well, {said(0)}"\n')
    write(calls / "test/metadata.jsonl", json.dumps({"file_name": "b.wav", "text": said(1)}))
    (calls / "audio/0.wav").rename(calls / "train/a.wav")
    (calls / "audio/1.wav").rename(calls / "test/b.wav")
    assert imported("table", calls) == [
        ("test/b.wav", said(1), "", "test"),
        ("train/a.wav", f"Well, {said(0)}", "", "train"),
    ]


def test_kaldi_with_segments(calls: Path) -> None:
    write(calls / "data/train_960/wav.scp", "call0 audio/0.wav\ncall2 sox x.sph -t wav - |\n")
    write(
        calls / "data/train_960/segments",
        "u1 call0 0.5 2.25\nu2 call0 2.5 -1\nu3 call2 0 1\nu4 call9 0 1\nu5 call0 now\n",
    )
    write(calls / "data/train_960/text", "".join(f"u{n} hello there\n" for n in range(1, 7)))
    write(calls / "data/train_960/utt2spk", "u1 ann\nu2 bob\n")
    write(calls / "data/dev/wav.scp", f"u7 {calls}/audio/1.wav\n")
    write(calls / "data/dev/text", f"u7 {said(1)}\n")
    assert imported("kaldi", calls) == [
        ("audio/1.wav", said(1), "", "dev"),
        ("audio/0/u1.flac", "hello there", "ann", "train"),
        ("audio/0/u2.flac", "hello there", "bob", "train"),
    ]
    rest_of_it = round(len(sound(0)) / 16_000 - 2.5, 3)
    assert cut_seconds(calls) == [1.75, rest_of_it]
    dropped = (calls.parent / "corpus/dropped.tsv").read_text()
    for detail in (
        "call2 is a command, needed a file",
        "call9 of u4 has no line in wav.scp",
        "u5 has no times: 'now'",
        "u6 has no line in segments",
    ):
        assert detail in dropped
    write(calls / "data/train_960/segments", "u1 call0 0.5 2.00\nu2 call0 2.5 -1\n")
    imported("kaldi", calls)
    assert cut_seconds(calls) == [1.5, rest_of_it]


def cut_seconds(calls: Path) -> list[float]:
    """Of the parts of `0.wav`, as they are on the disk and in the manifest."""
    rows = read_manifest(calls.parent / "corpus/manifest.tsv")[1:]
    assert [soundfile.info(u.path).duration for u in rows] == [
        pytest.approx(u.seconds, abs=0.001) for u in rows
    ]
    return [u.seconds for u in rows]


def test_a_table_is_imported_where_it_is(calls: Path) -> None:
    rows = f"audio/0.wav\t{said(0)}\t\naudio/0.wav\ti am going sir\t1\n"
    write(calls / "calls.tsv", f"path\ttext\toffset\n{rows}")
    for _ in range(2):  # neither what was written nor what was cut out is read
        command = ["data", "import", "table", str(calls), "-o", str(calls), "--dev-share", "0"]
        assert cli.main([*command, "--jobs", "1"]) == 0
        row, cut = read_manifest(calls / "manifest.tsv")
        assert (str(row.path.relative_to(calls)), row.text) == ("audio/0.wav", said(0))
        assert (cut.path.parent, cut.text) == (calls / "audio/0", "i am going sir")
        (dropped,) = (calls / "dropped.tsv").read_text().splitlines()[1:]
        assert f"\t{calls}/audio/1.wav\t" in dropped


@pytest.mark.parametrize(
    ("table", "more", "message"),
    [
        ("path,words\n", (), "a.csv has no column of texts (text, sentence, transcript, "),
        ("path,text\n", ("--speaker-column", "who"), "has no column who; it has path, text"),
        ("", (), "holds no table: looked for *.csv, *.tsv"),
        ('path,text\n"0.wav', (), "none of the 1 recordings of"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    table: str,
    more: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "a.csv", f"{table}x,y\n" if table.endswith("\n") else table)
    command = ["data", "import", "table", str(tmp_path / "a.csv"), "-o", str(tmp_path / "out")]
    assert cli.main([*command, *more]) == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert message in error
