"""`ds2edge completion`: what a real bash completes with it; what zsh and fish get."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ds2edge import cli

DS2EDGE = Path(sys.executable).with_name("ds2edge")

# Does what bash does when Tab is pressed after the words in "$@".
PRESS_TAB = """
source "$SCRIPT"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
function=$(complete -p ds2edge | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
"$function" ds2edge "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    command = [DS2EDGE, "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "ds2edge"
    path.write_text(script("bash"))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("talk.wav", "tale.mp3", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "tapes").mkdir()
    return tmp_path


def completed(bash_script: Path, folder: Path, *words: str) -> set[str]:
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", PRESS_TAB, "bash", "ds2edge", *words],
        cwd=folder,
        env={"SCRIPT": str(bash_script), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], {"transcribe", "train"}),
        (["mi"], {"mic"}),
        (["transcribe", "--w"], {"--words"}),
        (["transcribe", "--silence"], {"--silence-before", "--silence-after"}),
        (["transcribe", "ta"], {"talk.wav", "tale.mp3", "tapes"}),
        (["transcribe", "talk.wav", "no"], {"notes.txt"}),
        (["transcribe", "--words", "tal"], {"talk.wav", "tale.mp3"}),
        (["transcribe", "--boost", "x=4", "tal"], {"talk.wav", "tale.mp3"}),
        (["transcribe", "--output", "ta"], {"tapes"}),
        (["transcribe", "--dtype", "fl"], {"float32", "float64"}),
        (["transcribe", "--bundle", "no"], {"notes.txt"}),
        (["mic", "--srt", "no"], {"notes.txt"}),
        (["bench", "tal"], {"talk.wav", "tale.mp3"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["train", "no"], {"notes.txt"}),
        (["evaluate", "--split", "test", "no"], {"notes.txt"}),
    ],
)
def test_bash_completes(
    bash_script: Path, folder: Path, words: list[str], expected: set[str]
) -> None:
    assert completed(bash_script, folder, *words) == expected


def test_bash_completes_every_command(bash_script: Path, folder: Path) -> None:
    own = {"transcribe", "mic", "serve", "devices", "info", "bundle", "bench", "completion"}
    names = {*own, *cli.EXTRA_COMMANDS}
    assert completed(bash_script, folder, "") == names


@pytest.mark.parametrize(
    ("shell", "begin", "middle"),
    [("zsh", "#compdef ds2edge\n", "--silence-after"), ("fish", "", "-l silence-after")],
)
def test_scripts_for_other_shells(shell: str, begin: str, middle: str) -> None:
    printed = script(shell)
    assert printed.startswith(begin)
    assert middle in printed
    assert "transcribe" in printed


def test_another_shell_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["completion", "cmd"])
    assert stop.value.code == 2
    assert "invalid choice: 'cmd'" in capsys.readouterr().err


def test_other_commands_do_without_the_library() -> None:
    program = (
        "import sys\nfrom ds2edge import cli\ncli.build_parser()\nassert 'shtab' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True)
