"""Token sets in files: for configurations, commands and checkpoints."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ds2edge.errors import ConfigError, DataError, TextError
from ds2edge.language_model import LanguageModel
from ds2edge.text import TOKEN_SETS, TokenSet, english_characters
from ds2edge.token_files import find_tokens, read_tokens, write_tokens
from ds2edge.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ds2edge.training.config import ModelConfig, load_config
from ds2edge.training.network.model import token_set

SMALL = TokenSet(("<blank>", "a", "b", "今", "天"))
LATIN = " 'abcdefghijklmnopqrstuvwxyz"
ALPHABETS = {
    **{name: make() for name, make in TOKEN_SETS.items()},
    **{
        name: TokenSet(("<blank>", *dict.fromkeys(letters)))
        for name, letters in {
            "German": LATIN + "äöüß",
            "French": LATIN + "àâæçéèêëîïôœùûüÿ",
            "Turkish": LATIN + "çğıöşü",
            "Russian": " абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
            "Ukrainian": " 'ґїщ",
            "Greek": " αβγδεζηθικλμνξοπρσςτυφχψωάέήίϊΐόύϋΰώ",
            "Korean": " 한국어가나다",
            "Korean letters": " " + "".join(map(chr, range(0x1100, 0x1113))),
            "Japanese": "あいうがぎぱカガー々ヶ",
            "Thai": "กขคงาิีำ่้",
            "Hindi": " कखगािीुू्ंँ\u093c",
            "Arabic": " ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئىة",
            "figures and a hyphen": LATIN + "0123456789-",
        }.items()
    },
}


def configuration(folder: Path, tokens: str) -> Path:
    path = folder / "zh.toml"
    path.write_text(f"[model]\nlayers = 1\ntokens = '{tokens}'\n")
    return path


@pytest.mark.parametrize("tokens", [SMALL, english_characters()], ids=len)
def test_a_file_is_read_back(tmp_path: Path, tokens: TokenSet) -> None:
    write_tokens(tmp_path / "tokens", tokens)
    assert read_tokens(tmp_path / "tokens") == tokens == find_tokens("tokens", tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "tokens"]


def test_sets_are_found_by_name_file_and_bundle(tmp_path: Path) -> None:
    assert find_tokens("english_characters") == english_characters()
    assert find_tokens("format-3.ds2", Path(__file__).parent / "data" / "bundles").tokens[0]
    with pytest.raises(TextError, match=r"no token set 'klingon': needed .*, a file of"):
        find_tokens("klingon", tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\nb\n", "line 1: needed <blank>, got 'a'"),
        (b"<blank>\na\nb\na\n", "line 4: 'a' is there already, in line 2; take one of them out"),
        (b"<blank>\n\na\n", "line 2: needed a token, got an empty line"),
        (b"<blank>\n a\n", "line 2: needed a token without spaces, got ' a'"),
        ("<blank>\n今\n".encode("gb18030"), "not UTF-8"),
        (b"", "is empty: needed one token a line, the first <blank>"),
        (b"<blank>\n", "needs a letter, got <blank> and spaces alone"),
        (b"<blank>\n<space>\n", "needs a letter"),
        (b"<blank>\na\nA\n", "line 3: token 'A' .*: it becomes 'a'; take the line out"),
        ("<blank>\na\nb\ne\u0301\n".encode(), "line 4: .*: it becomes"),
        ("<blank>\na\n\u2019\n".encode(), 'line 3: .* it becomes "\'"'),
        (b"<blank>\na\n<unk>\n", "'<unk>' .*: '<' is left out, for it is no token"),
        (b"<blank>\nab\ncd\n", "line 2: .*: 'a' is left out"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "tokens").write_bytes(content)
    with pytest.raises(TextError, match=said):
        read_tokens(tmp_path / "tokens")


@pytest.mark.parametrize("tokens", ALPHABETS.values(), ids=ALPHABETS)
def test_alphabets_are_taken(tmp_path: Path, tokens: TokenSet) -> None:
    write_tokens(tmp_path / "tokens", tokens)
    assert read_tokens(tmp_path / "tokens") == tokens


def test_a_byte_order_mark_is_taken(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("<blank>\na\nb\n今\n天\n", encoding="utf-8-sig")
    assert read_tokens(tmp_path / "tokens") == SMALL


def test_folders_to_a_file_are_made(tmp_path: Path) -> None:
    write_tokens(tmp_path / "x" / "y" / "tokens", SMALL)
    assert read_tokens(tmp_path / "x" / "y" / "tokens") == SMALL


@pytest.mark.parametrize("place", [".", "..", "sub"])
def test_a_folder_is_no_place_for_tokens(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(TextError, match=f"{re.escape(place)}: it is a folder; give the path"):
        write_tokens(Path(place), SMALL)
    assert [path.name for path in tmp_path.rglob("*")] == ["work", "sub"]


def test_a_configuration_names_a_file_beside_it(tmp_path: Path) -> None:
    write_tokens(tmp_path / "zh.tokens", SMALL)
    config = load_config(configuration(tmp_path, "zh.tokens"))
    assert token_set(config.model) == SMALL
    more = replace(config.model, extra_tokens=("气",))
    assert token_set(more).tokens == (*SMALL.tokens, "气")


def test_a_file_may_be_given_instead(tmp_path: Path) -> None:
    write_tokens(tmp_path / "zh.tokens", SMALL)
    path = configuration(tmp_path, "english_bigrams")
    assert token_set(load_config(path, str(tmp_path / "zh.tokens")).model) == SMALL
    assert len(token_set(load_config(path, "english_characters").model)) == 29
    bundle = Path(__file__).parent / "data" / "bundles" / "format-3.ds2"
    assert token_set(load_config(path, str(bundle)).model) == find_tokens(str(bundle))
    with pytest.raises(TextError, match=r"no token set 'klingon': needed .* or a bundle"):
        load_config(path, "klingon")


def test_a_missing_file_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"zh.toml, line 3: model.tokens .* got 'zh.tokens'"):
        load_config(configuration(tmp_path, "zh.tokens"))


def test_a_checkpoint_has_its_tokens(tmp_path: Path) -> None:
    """The file may be gone, or another one, when the model is used."""
    write_tokens(tmp_path / "zh.tokens", SMALL)
    config = load_config(configuration(tmp_path, "zh.tokens"))
    save_checkpoint(tmp_path / "last.npz", Checkpoint(config, {}))
    (tmp_path / "zh.tokens").unlink()
    assert token_set(load_checkpoint(tmp_path / "last.npz").config.model) == SMALL


def test_a_set_that_ds2edge_has_is_not_listed() -> None:
    assert ModelConfig(tokens="mandarin_characters").token_list == ()


def test_a_model_of_words_is_not_for_characters(tmp_path: Path) -> None:
    words = LanguageModel(tmp_path, {"tokens": english_characters().digest, "of": "words"})
    words.check_tokens(english_characters())
    with pytest.raises(DataError, match=r"as a model of words; this one of 5 .*of its tokens"):
        words.check_tokens(SMALL)
