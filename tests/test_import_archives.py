"""Archives that are damaged, dangerous, or not the ones they should be: refused, nothing left."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import import_corpora
import pytest
from import_corpora import write

from ds2edge import cli
from ds2edge.training.data.manifest import read_manifest
from ds2edge.training.importing import checksums, unpack


def run_import(archive: Path, folder: Path, layout: str = "vctk") -> int:
    return cli.main(["data", "import", layout, str(archive), "-o", str(folder), "--jobs", "1"])


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """VCTK of old as .tar.gz."""
    import_corpora.vctk_of_old(tmp_path / "download")
    return Path(shutil.make_archive(str(tmp_path / "vctk"), "gztar", tmp_path / "download"))


def tar_member(path: Path, name: str, **fields: object) -> None:
    with tarfile.open(path, "w") as tar:
        good = tarfile.TarInfo("good.txt")
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        member = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(member, field, value)
        tar.addfile(member, io.BytesIO(b"x" * member.size))


def zip_member(path: Path, name: str, mode: int = 0, data: bytes = b"evil") -> None:
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("good.txt", "good")
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        zipped.writestr(member, data)


def symbolic(path: Path, target: str) -> None:
    tar_member(path, "sub/link", type=tarfile.SYMTYPE, linkname=target)


DANGEROUS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "zip that climbs": ("a.zip", lambda p: zip_member(p, "../evil"), "'../evil', lies outside"),
    "zip that climbs late": ("a.zip", lambda p: zip_member(p, "a/../../evil"), "lies outside"),
    "zip with a root": ("a.zip", lambda p: zip_member(p, "/evil"), "'/evil', lies outside"),
    "zip with a link": (
        "a.zip",
        lambda p: zip_member(p, "link", stat.S_IFLNK | 0o777, b"../../etc"),
        "'link' points to '../../etc', outside",
    ),
    "zip with a device": (
        "a.zip",
        lambda p: zip_member(p, "null", stat.S_IFCHR | 0o666),
        "'null' is neither a file nor a folder",
    ),
    "tar that climbs": (
        "a.tar",
        lambda p: tar_member(p, "../evil", size=4),
        "'../evil', lies outside",
    ),
    "tar with a root": (
        "a.tar",
        lambda p: tar_member(p, str(p.parent / "evil"), size=4),
        "evil', lies outside",
    ),
    "tar with a link": ("a.tar", lambda p: symbolic(p, "../../evil"), "points to '../../evil'"),
    "tar with a link to a root": ("a.tar", lambda p: symbolic(p, "/etc"), "'/etc', lies outside"),
    "tar with a hard link": (
        "a.tar",
        lambda p: tar_member(p, "link", type=tarfile.LNKTYPE, linkname="../evil"),
        "'../evil', lies outside",
    ),
    "tar with a device": (
        "a.tar",
        lambda p: tar_member(p, "null", type=tarfile.CHRTYPE),
        "'null' is neither a file nor a folder nor a link",
    ),
    "tar with a pipe": (
        "a.tar",
        lambda p: tar_member(p, "pipe", type=tarfile.FIFOTYPE),
        "'pipe' is neither a file nor a folder nor a link",
    ),
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_would_be_written_outside_is_refused(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, make, message = DANGEROUS[name]
    (tmp_path / "in").mkdir()
    make(tmp_path / "in" / file)
    assert run_import(tmp_path / "in" / file, tmp_path / "in" / "corpus") == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert f"{file} is refused, and nothing of it was kept: " in error
    assert message in error
    assert {p.name for p in tmp_path.rglob("*")} == {"in", file, "corpus", "unpacked"} | {
        ".import.jsonl"
    }


def cut_gzip(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def cut_before_the_check_sum(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 8)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def flip_check_sum(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def plain(path: Path) -> bytes:
    """The tar in the archive."""
    return gzip.decompress(path.read_bytes())


def cut_between_members(path: Path) -> None:
    data = plain(path)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(gzip.compress(data[: last.offset]))


def cut_in_a_member(path: Path) -> None:
    path.write_bytes(gzip.compress(plain(path)[:3000]))


def spoil_a_header(path: Path) -> None:
    data = bytearray(plain(path))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        data[tar.getmembers()[-1].offset + 150] ^= 0xFF
    path.write_bytes(gzip.compress(data))


def cut_bzip2(path: Path) -> None:
    path.write_bytes(bz2.compress(plain(path))[:-100])


def flip_bzip2(path: Path) -> None:
    path.write_bytes(bz2.compress(plain(path)))
    flip(path)


def as_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in sorted((path.parent / "download").rglob("*.*")):
            zipped.write(file, file.relative_to(path.parent / "download"))


def cut_zip(path: Path) -> None:
    as_zip(path)
    cut_gzip(path)


def flip_zip(path: Path) -> None:
    as_zip(path)
    flip(path)


def web_page(path: Path) -> None:
    path.write_text("<html>404 Not Found</html>" * 50)


def a_file_that_is_a_folder(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name in ("a", "a/b"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())


@pytest.mark.parametrize(
    "spoil",
    [
        cut_gzip,
        cut_before_the_check_sum,
        flip,
        flip_check_sum,
        cut_between_members,
        cut_in_a_member,
        spoil_a_header,
        cut_bzip2,
        flip_bzip2,
        cut_zip,
        flip_zip,
        web_page,
        a_file_that_is_a_folder,
        lambda path: path.write_bytes(b""),
    ],
)
def test_a_damaged_archive_is_one_line_and_leaves_nothing(
    spoil: Callable[[Path], None],
    archive: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unpack, "BLOCK", 512)  # else all of it is one block
    spoil(archive)
    assert run_import(archive, tmp_path / "corpus") == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert f"{archive} is damaged or cut short (" in error
    assert error.endswith("; download it again")
    assert not list((tmp_path / "corpus" / "unpacked").iterdir())
    assert not (tmp_path / "corpus" / "manifest.tsv").exists()


def test_links_become_second_names(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, link in (
            ("train/a.wav", "../data/a.wav"),
            ("again.wav", "train/a.wav"),
            ("all", "data"),
            ("round", "round"),
            ("gone", "data/b.wav"),
            ("data/up", ".."),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
        member = tarfile.TarInfo("data/a.wav")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"sound"))
    unpack.unpack(tmp_path / "a.tar", tmp_path / "a")
    files = {str(p.relative_to(tmp_path / "a")): p for p in (tmp_path / "a").rglob("*.wav")}
    assert set(files) == {"data/a.wav", "train/a.wav", "again.wav", "all/a.wav"}
    assert {path.read_bytes() for path in files.values()} == {b"sound"}
    assert not [path for path in files.values() if path.is_symlink()]


def test_of_two_members_with_one_name_the_last_stays(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for data in (b"first", b"other"):
            member = tarfile.TarInfo("a.txt")
            member.size = 5
            tar.addfile(member, io.BytesIO(data))
    unpack.unpack(tmp_path / "a.tar", tmp_path / "a")
    assert (tmp_path / "a/a.txt").read_bytes() == b"other"


def test_a_bomb_is_told_by_its_size(
    archive: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Disk:
        free = 100_000

    as_zip(tmp_path / "vctk.zip")
    with monkeypatch.context() as patch:
        patch.setattr(unpack.shutil, "disk_usage", lambda _: Disk)
        for packed in (archive, tmp_path / "vctk.zip"):
            assert run_import(packed, tmp_path / "corpus") == 2
            (error,) = capfd.readouterr().err.splitlines()
            assert f"{packed} cannot be unpacked: it" in error
            assert "takes 0.0 GB, 0.0 GB are left in" in error
            assert error.endswith("free some, and run the same command again")
    assert run_import(archive, tmp_path / "corpus") == 0


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    archive: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "corpus"))

    with monkeypatch.context() as patch:
        patch.setattr(unpack.os, "utime", full)
        assert run_import(archive, tmp_path / "corpus") == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert error == f"ds2edge: {tmp_path / 'corpus'}: No space left on device"
    assert not (tmp_path / "corpus/unpacked/vctk").exists()
    assert run_import(archive, tmp_path / "corpus") == 0


def test_members_that_are_whole_are_not_written_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write_member = unpack._write

    def killed(path: Path, *others: object) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path.name)
        write_member(path, *others)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(unpack, "_write", killed)
        assert run_import(archive, tmp_path / "corpus") == 130
    part = tmp_path / "corpus/unpacked/vctk.part"
    assert [path.name for path in part.rglob("*.*")] == written
    monkeypatch.setattr(
        unpack, "_write", lambda p, *o: (written.append(p.name), write_member(p, *o))
    )
    assert run_import(archive, tmp_path / "corpus") == 0
    assert sorted(written) == ["p225_001.txt", "p225_001.wav"]
    assert not part.exists()


def test_another_archive_of_that_name_is_unpacked_anew(archive: Path, tmp_path: Path) -> None:
    assert run_import(archive, tmp_path / "corpus") == 0
    write(tmp_path / "download/VCTK-Corpus/txt/p225/p225_001.txt", "other words")
    shutil.make_archive(str(tmp_path / "vctk"), "gztar", tmp_path / "download")
    assert run_import(archive, tmp_path / "corpus") == 0
    assert [u.text for u in read_manifest(tmp_path / "corpus/manifest.tsv")] == ["other words"]


def test_two_archives_of_one_name_are_refused(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b").mkdir()
    shutil.copy(archive, tmp_path / "b" / "vctk.tgz")
    more = ["data", "import", "vctk", str(archive), str(tmp_path / "b" / "vctk.tgz")]
    assert cli.main([*more, "-o", str(tmp_path / "corpus")]) == 2
    assert "would both be unpacked as vctk; rename one" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("md5sum.txt", "{md5}  ./{name}"),
        ("SHA256SUMS", "{sha256} *{name}"),
        ("vctk.tar.gz.md5", "{md5}\n"),
        ("list.sha1", "SHA1 ({name}) = {sha1}"),
    ],
)
def test_check_sums_beside_an_archive_are_compared(
    name: str, line: str, archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = archive.read_bytes()
    sums = {kind: hashlib.new(kind, data).hexdigest() for kind in ("md5", "sha1", "sha256")}
    others = {kind: digits[::-1] for kind, digits in sums.items()}
    write(tmp_path / name, f"# a list\n{line.format(name=archive.name, **others)}\n")
    assert run_import(archive, tmp_path / "corpus") == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert f"{archive} is damaged or another file: its " in error
    assert f"by {tmp_path / name} " in error
    assert not (tmp_path / "corpus/unpacked").exists()
    write(tmp_path / name, line.format(name=archive.name, **sums))
    assert run_import(archive, tmp_path / "corpus") == 0


def test_an_archive_with_a_known_name_has_the_published_sum(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive = archive.rename(tmp_path / "train-clean-100.tar.gz")
    assert run_import(archive, tmp_path / "corpus", "librispeech") == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert "by what is published for that name 2a93770f6d5c6c964bc36631d331a522; downl" in error
    assert all(len(digits) in checksums.ALGORITHMS for digits in checksums.PUBLISHED.values())


def test_check_sums_in_a_corpus_are_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "download"
    corpus = import_corpora.vctk_of_old(root)
    recording = root / corpus.rows[0][0]
    digest = hashlib.md5(recording.read_bytes()).hexdigest()
    write(root / "VCTK-Corpus/md5sum.txt", f"{digest}  wav48/p225/p225_001.wav\n0  other\n")
    assert run_import(root, tmp_path / "corpus") == 0
    with monkeypatch.context() as patch:
        patch.setattr("ds2edge.training.importing.engine.check_file", None)
        assert run_import(root, tmp_path / "corpus") == 0
    os.utime(recording, (1, 1))
    data = bytearray(recording.read_bytes())
    data[-1] ^= 1
    recording.write_bytes(data)
    assert run_import(root, tmp_path / "corpus") == 2
    assert f"{recording} is damaged or another file: its MD5 is" in capfd.readouterr().err
