"""The files of the server's page: complete, and nothing that a strict browser would refuse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from html_page import Page

from ds2edge.serving.application import PAGE, TYPES

HTML = (PAGE / "index.html").read_text(encoding="utf-8")
SCRIPTS = sorted(PAGE.glob("*.js"))
FILES = {path.name for path in PAGE.iterdir()}


def test_every_file_is_served() -> None:
    assert all(Path(name).suffix in TYPES for name in FILES)


def test_nothing_comes_from_elsewhere_and_all_that_is_named_is_there() -> None:
    page = Page(HTML)
    named = [
        attributes.get("src") or attributes.get("href")
        for tag in ("script", "link")
        for attributes in page.all(tag)
    ]
    assert len(named) == 3
    assert {name.removeprefix("page/") for name in named} <= FILES
    assert all(name.startswith("page/") for name in named)
    for path in [*SCRIPTS, PAGE / "page.css", PAGE / "icon.svg"]:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"https?://[a-z]+\.|//cdn|url\(|@import", text) == []


def test_nothing_is_inline() -> None:
    page = Page(HTML)
    assert all("src" in script for script in page.all("script"))
    assert page.all("style") == []
    names = {name for _, attributes in page.elements for name in attributes}
    assert not any(name == "style" or name.startswith("on") for name in names)
    for path in SCRIPTS:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(", path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_module_finds_what_it_names(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for names, module in re.findall(r'import \{ (.+?) \} from "\./(.+?)"', text):
        exported = (PAGE / module).read_text(encoding="utf-8")
        for name in names.split(", "):
            assert re.search(rf"export (async )?(function|class|const) {name}\b", exported), name
    ids = {attributes["id"] for _, attributes in Page(HTML).elements if "id" in attributes}
    found = re.findall(r'(?:getElementById|\bat)\("([\w-]+)"\)', text)
    assert set(found) <= ids
    classes = {c for _, a in Page(HTML).elements for c in (a.get("class") or "").split()}
    assert set(re.findall(r'#find\("\.([\w-]+)"\)', text)) <= classes


def test_for_phones_and_for_the_dark() -> None:
    metas = Page(HTML).all("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    assert "prefers-color-scheme: dark" in (PAGE / "page.css").read_text(encoding="utf-8")
