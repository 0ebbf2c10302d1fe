"""Text files in this encoding or that: read, or refused with a guess at it."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from ds2edge.cli import main as cli
from ds2edge.errors import DataError
from ds2edge.text import mandarin_characters
from ds2edge.training.language_model import read_sentences
from ds2edge.training.texts.lines import read_lines


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "我们都在那里等你"),
        ("utf-16", "我们都在那里等你"),
        ("big5", "我們的學校在這裡"),
        ("shift_jis", "これは私の本です"),
        ("euc_kr", "나는 학교에 가는 사람이다"),
        ("utf-16-le", "我们都在那里等你的"),
        ("cp1252", "Die Bücher sind schön und größer als früher"),
        ("cp1252", "für müde Brüder, Straße"),
        ("cp1252", "un élève naïf a créé ça, dit le garçon à l\u2019école"),
        ("gb18030", "看 CNN 的新闻 google maps and some more english words here"),
        (
            "gb18030",
            "看新闻\uff0cgoogle maps and some more english words here",
        ),
        ("big5", "我們的學校 google maps and some more english words here"),
        ("utf-16-le", "今天 the price 是 300 USD\n的 https://example.com/index.html"),
        ("utf-16-be", "今天 the price 是 300 USD\n的 https://example.com/index.html"),
    ],
)
def test_text_in_another_encoding_is_told(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(f"{text}\n".encode(encoding))
    with pytest.raises(DataError, match=rf"text.txt as utf-8: .*reads as {encoding}: ds2edge "):
        list(read_sentences([path], mandarin_characters()))


def test_what_comes_after_much_ascii_tells_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(("plain\n" * 200_000 + "我们都在那里等你\n").encode("gb18030"))
    with pytest.raises(DataError, match="it reads as gb18030: "):
        list(read_lines(path))


def test_another_encoding_than_the_named_one(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(("我們的學校在這裡\n" * 40).encode("big5"))
    with pytest.raises(DataError, match=r"text.txt makes no sense as gb18030; it reads as big5: "):
        list(read_lines(path, "gb18030"))
    assert len(list(read_lines(path, "big5"))) == 40
    path.write_bytes("安装软件\n".encode("gb18030") * 200)  # nothing is frequent here
    assert set(read_lines(path, "gb18030")) == {"安装软件\n"}


@pytest.mark.parametrize(
    "encoding",
    ["gb18030", "big5", "shift_jis", "latin-1", "cp1252", "koi8-r", "utf-16-le", "utf-16", "ascii"],
)
@pytest.mark.parametrize(
    "text", ["我们今天去看电影。\n", "für müde Brüder, Straße\n", "plain\n" * 200_000 + "größer\n"]
)
def test_utf_8_is_no_other_encoding(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"text.txt makes no sense as .*; it reads as utf-8: "):
        list(read_lines(path, encoding))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "通\n"),  # two bytes that are UTF-8, too
        ("gb18030", "我们今天去看电影。\n"),
        ("latin-1", "plain\n"),
        ("latin-1", "für müde Brüder, Straße\n"),
        ("utf-8-sig", "我们今天去看电影。\n"),
        ("utf-16", "plain\n"),
        ("utf-16-le", "plain\n"),
        ("utf-16-be", "привет"),  # no byte of which is beyond ASCII
        ("utf-32", "我们\n"),
    ],
)
def test_text_in_the_named_encoding_is_read(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode(encoding))
    assert "".join(read_lines(path, encoding)) == text


@pytest.mark.parametrize("named", ["latin-1", "gb18030", "utf-16-be"])
def test_english_with_nul_bytes_is_utf_16(tmp_path: Path, named: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text("plain English\n", encoding="utf-16-le")
    with pytest.raises(DataError, match="it reads as utf-16-le: "):
        list(read_lines(path, named))


def test_of_bytes_that_are_no_text_no_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xff some header \0" + b" and more of it" * 10)
    with pytest.raises(DataError, match=r"as utf-8: invalid start byte$"):
        list(read_lines(path))


def test_a_damaged_file_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "text.xz"
    path.write_bytes(lzma.compress(("我们都在那里等你\n" * 9_000).encode("gb18030"))[:-40])
    with pytest.raises(DataError, match="cannot read text"):
        list(read_lines(path))


def test_marks_are_no_text_however_utf_8_is_written(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("你好", encoding="utf-8-sig")
    assert list(read_lines(path, "UTF8")) == list(read_lines(path)) == ["你好"]


def test_text_command_converts_encodings(tmp_path: Path) -> None:
    path, out = tmp_path / "old.txt", tmp_path / "zh.txt"
    path.write_bytes("你好\n".encode("gb18030"))
    assert cli(["data", "text", str(path), "-o", str(out)]) == 2
    assert not out.exists()
    assert cli(["data", "text", str(path), "-o", str(out), "--encoding", "gb18030"]) == 0
    assert out.read_text() == "你好\n"


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("klingon", "no encoding 'klingon'"),
        ("", "no encoding ''"),
        ("base64", "no encoding 'base64'"),  # a codec, but of no text
        ("hex", "no encoding 'hex'"),
        ("rot13", "no encoding 'rot13'"),
        ("undefined", "no encoding 'undefined'"),
        ("idna", "no encoding 'idna'"),
        ("punycode", "no encoding 'punycode'"),
        ("utf-16", "as utf-16: UTF-16 stream does not start with BOM"),
    ],
)
def test_encodings_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str, said: str
) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("你好\n".encode("gb18030"))
    command = ["data", "text", str(path), "-o", str(tmp_path / "zh.txt"), "--encoding", encoding]
    assert cli(command) == 2
    assert said in capsys.readouterr().err
