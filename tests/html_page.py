"""An HTML page, taken apart: what several tests look at."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; an element that is not closed is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def assert_stands_alone(self, html: str) -> None:
        """It needs no other file and no network, and what is seen is also said."""
        assert html.startswith("<!DOCTYPE html>")
        assert self.all("html") == [{"lang": "en"}]
        assert self.all("meta")[0] == {"charset": "utf-8"}
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            links = [attributes[name] for _, attributes in self.elements if name in attributes]
            assert all(link.startswith("data:") for link in links)
        assert "url(" not in html
        assert "@import" not in html
        assert all(image["alt"] for image in self.all("img"))
        assert len(self.all("caption")) == len(self.all("table"))
        assert all(head["scope"] in ("col", "row") for head in self.all("th"))
        assert all(sound["aria-label"] for sound in self.all("audio"))
        ids = Counter(attributes["id"] for _, attributes in self.elements if "id" in attributes)
        assert all(count == 1 for count in ids.values())
