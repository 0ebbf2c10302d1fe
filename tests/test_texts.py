"""Text for models: numerals, scripts, and the token set of a text."""

from __future__ import annotations

import lzma
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge.cli import main as cli
from ds2edge.errors import DataError, MissingExtraError
from ds2edge.text import TokenSet, english_characters, mandarin_characters
from ds2edge.token_files import read_tokens
from ds2edge.training.data.spelling import told_without_example, without_example
from ds2edge.training.language_model import read_sentences
from ds2edge.training.texts.chinese_numbers import cardinal, spell_out
from ds2edge.training.texts.prepare import Preparation, prepared_sentences
from ds2edge.training.texts.tokens_command import choose
from ds2edge.training.texts.traditional import load_opencc, traditional_characters


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("2023年3月15日", "二零二三年三月十五日"),
        ("2023-03-15", "二零二三年三月十五日"),
        ("1998-2002年", "一九九八到二零零二年"),
        ("10年", "十年"),
        ("下午2:30开会", "下午两点三十分开会"),
        ("8:05", "八点零五分"),
        ("12:00", "十二点"),
        ("3:0获胜", "三比零获胜"),
        ("涨了3.5%", "涨了百分之三点五"),
        ("10%-20%", "百分之十到百分之二十"),
        ("1,200元", "一千二百元"),
        ("$200万", "二百万美元"),
        ("第3名", "第三名"),
        ("2个人", "两个人"),
        ("第2个", "第二个"),
        ("2小时2公里", "两小时两公里"),
        ("2万人", "两万人"),
        ("12万人", "十二万人"),
        ("2年级", "二年级"),
        ("2元", "两元"),
        ("¥2", "两元"),
        ("90后", "九零后"),
        ("8:00-9:30", "八点到九点三十分"),
        ("今天-5°C", "今天负五摄氏度"),
        ("2km", "两公里"),
        ("20,000人", "两万人"),
        ("打13800138000", "打幺三八零零幺三八零零零"),
        ("1/3", "三分之一"),
        ("3-5天", "三到五天"),
        ("0.05", "零点零五"),
        ("mp3", "mp三"),
        ("5G网络", "五G网络"),
        ("版本2.0.1", "版本二点零点一"),
        ("没有数字", "没有数字"),
        ("3月5日-8日", "三月五日到八日"),
        ("8点-10点", "八点到十点"),
        ("2019年-2020年", "二零一九年到二零二零年"),
        ("2020—2023年", "二零二零到二零二三年"),
        ("(1949-2019)", "(一九四九到二零一九)"),
        ("19:00—20:00", "十九点到二十点"),
        ("5%—10%", "百分之五到百分之十"),
        ("5km-10km", "五公里到十公里"),
        ("2〜3天", "两到三天"),
        ("-10℃~-5℃", "负十摄氏度到负五摄氏度"),
        ("\u22125度", "负五度"),
        ("歼-20", "歼-二十"),
        ("增长-5%", "增长百分之负五"),
        ("¥1.5-2.5", "一点五到二点五元"),
        ("分别是100\uff0c200\uff0c300", "分别是一百, 二百, 三百"),
        ("\uff11\uff0c\uff12\uff10\uff10元", "一千二百元"),
        ("10²", "十的二次方"),
        ("3½", "三又二分之一"),
        ("5m²", "五平方米"),
        ("100M宽带", "一百M宽带"),
        ("400-800-1234", "四零零八零零幺二三四"),
        ("010 12345678", "零幺零幺二三四五六七八"),
        ("拨打12306", "拨打幺二三零六"),
        ("打120个", "打一百二十个"),
        ("1/1000", "一千分之一"),
        ("2023/24赛季", "二零二三二四赛季"),
        ("1:2:3", "一比二比三"),
        ("100000000元", "一亿元"),
        ("95后", "九五后"),
        ("二〇二三年", "二零二三年"),
        ("12月25日 -3度", "十二月二十五日 负三度"),
        ("3月5日 -3℃", "三月五日 负三摄氏度"),
        ("3月5日 \u22123℃", "三月五日 负三摄氏度"),
        ("5 - 8点", "五到八点"),
        ("5-8点", "五到八点"),
        ("8点 -10点", "八点到十点"),  # no time is negative, and no year
        ("2010 -2015年", "二零一零到二零一五年"),
        ("-5到-3度", "负五到负三度"),
        ("2013-14赛季", "二零一三一四赛季"),
        ("2013-2014学年", "二零一三到二零一四学年"),
        ("13-14赛季", "十三到十四赛季"),
    ],
)
def test_numerals_are_spelled_out(written: str, said: str) -> None:
    assert spell_out(written) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "零"),
        (10, "十"),
        (11, "十一"),
        (20, "二十"),
        (105, "一百零五"),
        (110, "一百一十"),
        (200, "二百"),
        (1001, "一千零一"),
        (1010, "一千零一十"),
        (2200, "两千二百"),
        (10_000, "一万"),
        (10_010, "一万零一十"),
        (100_500, "十万零五百"),
        (102_000_000, "一亿零二百万"),
        (1_000_000_001, "十亿零一"),
    ],
)
def test_numbers_have_names(number: int, said: str) -> None:
    assert cardinal(str(number)) == said


@given(st.text("0123456789.,-:/%年月日个第打a ¥°²½~—\u2212\uff0c\uff11", max_size=15))
def test_no_numeral_is_left(text: str) -> None:
    assert not any(c in "0123456789" for c in spell_out(text))


@given(st.integers(1, 10**16 - 1))
def test_names_are_different(number: int) -> None:
    """The value comes back from the name."""
    assert value_of(cardinal(str(number))) == number


def value_of(name: str) -> int:
    total = section = digit = 0
    scales = {"万": 10**4, "亿": 10**8}
    for i, c in enumerate(name):
        if c in "零一二三四五六七八九":
            digit = "零一二三四五六七八九".index(c)
        elif c == "两":
            digit = 2
        elif c in "十百千":
            section += (digit or (c == "十")) * 10 ** ("十百千".index(c) + 1)
            digit = 0
        elif name[i : i + 2] == "万亿":
            total, section, digit = total + (section + digit) * 10**12, 0, 0
        elif name[i - 1 : i + 1] != "万亿":
            total, section, digit = total + (section + digit) * scales[c], 0, 0
    return total + section + digit


def test_preparation_is_of_width_numerals_and_script() -> None:
    prepare = Preparation(numerals="zh")
    assert prepare("看\u3000\uff23\uff2e\uff2e \uff13个\uff01") == "看 CNN 三个!"
    assert Preparation()("3 个") == "3 个"


def test_traditional_becomes_simplified() -> None:
    pytest.importorskip("opencc")
    assert Preparation(simplify=True)("打醬油的中國人") == "打酱油的中国人"


def test_without_opencc_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load_opencc.cache_clear()
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ds2edge\[zh\]'"):
        load_opencc()


def test_which_characters_are_traditional() -> None:
    found = traditional_characters()
    assert found.issuperset("國語說話體")
    assert not found.intersection("国语说话简体中文的我们着")


TRADITIONAL = "這個國家的語言學習對於說話的人來說並不簡單\n" * 3


@pytest.mark.parametrize("text", [TRADITIONAL, "今天天氣很好\n"])
def test_text_in_traditional_characters_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "old.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"old.txt has traditional .* --simplify"):
        list(read_sentences([path], mandarin_characters()))
    wanted = TokenSet(("<blank>", *sorted(set(text.replace("\n", "")))))
    assert list(read_sentences([path], wanted)) == text.split()


def test_some_traditional_characters_are_no_reason(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    path.write_text("打醬油\n" + "我们都在学习中文\n" * 50, encoding="utf-8")
    assert list(read_sentences([path], mandarin_characters())) == ["我们都在学习中文"] * 50


def test_sentences_that_cannot_be_spelled_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "zh.txt"
    path.write_text("今天去了𠮷野家\n10月\n二\u3007二三年,看 CNN。\n", encoding="utf-8")
    assert list(read_sentences([path], mandarin_characters())) == ["二零二三年看cnn"]
    (told,) = caplog.messages
    assert "zh.txt: 2 sentences have characters that no token stands for, and are left" in told
    assert "'𠮷' 1 times" in told
    assert "--numerals" in told


def test_what_words_lose_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "en.txt"
    path.write_text("On 3 May he came to the café.\nHe left.\n", encoding="utf-8")
    assert list(read_sentences([path], english_characters())) == [
        "on may he came to the cafe",
        "he left",
    ]
    (told,) = caplog.messages
    assert "1 sentences have characters that no token stands for, which are left out of" in told
    assert "'3' 1 times" in told
    assert "--numerals" not in told


def text_file(folder: Path) -> Path:
    path = folder / "text.txt.xz"
    path.write_bytes(lzma.compress("今天是2023年。我们看CNN\uff01\n你好吗\n".encode()))
    return path


def test_text_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "zh.txt"
    assert cli(["data", "text", str(text_file(tmp_path)), "-o", str(out), "--numerals", "zh"]) == 0
    assert out.read_text().splitlines() == ["今天是二零二三年。", "我们看CNN!", "你好吗"]
    assert "3 sentences" in capsys.readouterr().out


def test_sentences_end_at_latin_full_stops_and_not_at_abbreviations(tmp_path: Path) -> None:
    path, out = tmp_path / "de.txt", tmp_path / "out.txt"
    path.write_text(
        "Am 3. Mai kam Dr. Müller. Er blieb bzw. er ging. Wer? Ich.\n", encoding="utf-8"
    )
    assert cli(["data", "text", str(path), "-o", str(out)]) == 0
    expected = ["Am 3. Mai kam Dr. Müller.", "Er blieb bzw. er ging.", "Wer?", "Ich."]
    assert out.read_text(encoding="utf-8").splitlines() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("„Guten Tag!“, sagte Karl. Ja.", ["„Guten Tag!“, sagte Karl.", "Ja."]),
        ("„Komm!“ Er ging.", ["„Komm!“", "Er ging."]),
        ("„Komm!“ rief er.", ["„Komm!“ rief er."]),
        ("Er rief „Komm!“.", ["Er rief „Komm!“."]),
        ("»Was?«, fragte Karl. »Ja.«", ["»Was?«, fragte Karl.", "»Ja.«"]),
        ("\u2039Was?\u203a, fragte er.", ["\u2039Was?\u203a, fragte er."]),
        ("« Oui ! » dit-il.", ["« Oui ! » dit-il."]),
        ('"Hello!" he said. "Why?"', ['"Hello!" he said.', '"Why?"']),
        ("“Hello.” “World.”", ["“Hello.” “World.”"]),
        ("Hello! “World!” Komm! »Ja.«", ["Hello!", "“World!” Komm!", "»Ja.«"]),
        ("走吧\uff01“好。”他说。“...好。”", ["走吧!", "“好。”他说。", "“...好。”"]),
    ],
)
def test_closing_quotation_marks_belong_to_the_sentence(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    assert list(prepared_sentences([path], Preparation())) == expected


@pytest.mark.parametrize("command", ["text", "tokens"])
@pytest.mark.parametrize("output", [".", "..", "folder"])
def test_a_folder_is_no_output(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    output: str,
) -> None:
    text = text_file(tmp_path)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder" if output == ".." else tmp_path)
    assert cli(["data", command, str(text), "-o", output]) == 2
    assert capsys.readouterr().err == (
        f"ds2edge: cannot write {output}: it is a folder; give the path of a file\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", text.name]


def test_tokens_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.tsv").write_text(
        "path\tseconds\ttext\tspeaker\tsplit\n"
        "a.wav\t1.0\t今天\ta\ttrain\n"
        "b.wav\t1.0\t你好\ta\tdev\n"
    )
    out = tmp_path / "zh.tokens"
    command = ["data", "tokens", str(text_file(tmp_path)), "-o", str(out), "--numerals", "zh"]
    assert cli([*command, "--coverage", "1", "--examples", str(tmp_path / "manifest.tsv")]) == 0
    tokens = read_tokens(out)
    assert tokens.space is None
    assert set(tokens.tokens[1:]) == set("abcdefghijklmnopqrstuvwxyz今天是二零三年我们看你好吗")
    said = capsys.readouterr().out
    assert "40 tokens, which spell 100.000 %" in said.replace("%", " %").replace("  ", " ")
    assert "37 of 40 tokens have no training example: 'a' 'b'" in said


def test_examples_that_are_missing_are_missed_first(tmp_path: Path) -> None:
    out = tmp_path / "zh.tokens"
    command = ["data", "tokens", str(text_file(tmp_path)), "-o", str(out), "--numerals", "zh"]
    assert cli([*command, "--examples", str(tmp_path / "none.tsv")]) == 2
    assert not out.exists()


def test_tokens_of_a_script_with_spaces(tmp_path: Path) -> None:
    text, out = tmp_path / "de.txt", tmp_path / "de.tokens"
    text.write_text("Grüße an alle, wie geht's dir?\n", encoding="utf-8")
    assert cli(["data", "tokens", str(text), "-o", str(out), "--letters", ""]) == 0
    assert read_tokens(out).tokens == ("<blank>", " ", "'", *sorted(set("grüßeanallewiegehtsdir")))


def test_tokens_refuse_traditional_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "old.txt", tmp_path / "zh.tokens"
    path.write_text(TRADITIONAL, encoding="utf-8")
    assert cli(["data", "tokens", str(path), "-o", str(out)]) == 2
    assert "--simplify" in capsys.readouterr().err
    assert not out.exists()
    assert cli(["data", "tokens", str(path), "-o", str(out), "--traditional"]) == 0


@pytest.mark.parametrize("more", [("--coverage", "0"), ("--coverage", "1.1"), ("--most", "0")])
def test_impossible_token_sets(tmp_path: Path, more: tuple[str, str]) -> None:
    path = tmp_path / "zh.txt"
    path.write_text("你好\n")
    assert cli(["data", "tokens", str(path), "-o", str(tmp_path / "zh.tokens"), *more]) == 2
    path.write_text("123 !\n")
    assert cli(["data", "tokens", str(path), "-o", str(tmp_path / "zh.tokens")]) == 2


def test_coverage_chooses_the_most_frequent() -> None:
    counts = Counter({"的": 90, "了": 8, "囧": 2})
    chosen = choose(counts, 0.95, 100)
    assert chosen.tokens.tokens == ("<blank>", "了", "的")
    assert (chosen.coverage, chosen.left_out) == (0.98, Counter({"囧": 2}))
    assert choose(counts, 1.0, 1).tokens.tokens == ("<blank>", "的")
    assert "'" not in choose(counts + Counter("'"), 1.0, 9).tokens.tokens
    assert choose(counts, 0.9, 9, "ab").tokens.tokens == ("<blank>", "a", "b", "的")


@pytest.mark.parametrize(
    ("text", "more", "spaced"),
    [
        ("我们今天用transformer做recognition", [], False),
        ("用 speech recognition systems 吗", [], True),
        ("用 speech recognition systems 吗", ["--no-space"], False),
        ("你好", ["--space"], True),
    ],
)
def test_whether_words_have_spaces(
    tmp_path: Path, text: str, more: list[str], spaced: bool
) -> None:
    path, out = tmp_path / "text.txt", tmp_path / "a.tokens"
    path.write_text(text, encoding="utf-8")
    assert cli(["data", "tokens", str(path), "-o", str(out), *more]) == 0
    assert (read_tokens(out).space is not None) == spaced


def test_tokens_without_an_example() -> None:
    tokens = english_characters()
    missing = without_example(tokens, [tokens.encode("the quick brown fox jumps"), []])
    assert missing == ["'", "a", "d", "g", "l", "v", "y", "z"]
    told = told_without_example(tokens, missing)
    assert told == "8 of 29 tokens have no training example: \"'\" 'a' 'd' 'g' 'l' 'v' 'y' 'z'"
