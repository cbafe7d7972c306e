"""Checks of the built pages: ``python docs/check_pages.py docs/_build/html``.

No link leads nowhere within the pages, every image says in words what it shows, no line of code is
wider than the column, and all colours of code stand out from their background (a contrast of 4.5,
WCAG 2 level AA). It prints what is wrong and ends with status 1 then.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["Page", "check", "contrast", "read_page"]

#: Characters that fit beside each other in a block of code (``_static/pages.css``).
COLUMNS = 100
#: Blocks whose lines are code that somebody wrote; what is printed is wrapped.
_CODE = re.compile(r"highlight-(python|toml|cpp|bash|ipython3?|diff)\b")
_LEAST_CONTRAST = 4.5
_RULE = re.compile(r"([^{}]*)\{([^{}]*)\}")
_COLOUR = re.compile(r"(?<![-\w])(color|background(?:-color)?):\s*(#[0-9a-fA-F]{3,6})")


@dataclass
class Page:
    """What is checked of a page.

    Attributes
    ----------
    anchors : set of str
        Where links may lead to.
    links : list of str
    images : list of (str, str or None)
        Source and words of each image.
    code : list of str
        Lines of code.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    images: list[tuple[str, str | None]] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._open: list[bool] = []  # of every div, whether it holds code
        self._in_pre = False
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.page.anchors |= {str(given[key]) for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.page.links.append(str(given["href"]))
        if tag == "img":
            self.page.images.append((str(given.get("src")), given.get("alt")))
        if tag == "div":
            kinds = given.get("class") or ""
            self._open.append(bool(_CODE.search(kinds)) and "wrapped" not in kinds.split())
        if tag == "pre" and any(self._open):
            self._in_pre, self._text = True, ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self._open:
            self._open.pop()
        if tag == "pre" and self._in_pre:
            self._in_pre = False
            self.page.code += self._text.splitlines()

    def handle_data(self, data: str) -> None:
        if self._in_pre:
            self._text += data


def read_page(text: str) -> Page:
    """Read what is checked of a page's HTML."""
    reader = _Reader()
    reader.feed(text)
    return reader.page


def check(folder: Path) -> Iterator[str]:
    """Say what is wrong with the pages in a folder, a line each."""
    pages = {
        path.relative_to(folder).as_posix(): read_page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.relative_to(folder).parts
    }
    if not pages:
        yield f"{folder}: no pages"
    for name, page in pages.items():
        yield from (f"{name}: {message}" for message in _check_page(folder, name, page, pages))
    styles = folder / "_static" / "pygments.css"
    if styles.exists():
        yield from _check_colours(styles.read_text(encoding="utf-8"))


def _check_page(folder: Path, name: str, page: Page, pages: dict[str, Page]) -> Iterator[str]:
    for link in dict.fromkeys(page.links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (folder / name).parent / unquote(parts.path) if parts.path else folder / name
        if not target.exists():
            yield f"link to {link}: there is no such file"
            continue
        relative = target.resolve().relative_to(folder.resolve()).as_posix()
        anchor = unquote(parts.fragment)
        if anchor and relative in pages and anchor not in pages[relative].anchors:
            yield f"link to {link}: there is no such place on the page"
    for source, words in page.images:
        if not (words or "").strip() or words == source or Path(words or "").suffix == ".png":
            yield f"image {source[:60]}: its alt text is missing"
    for line in page.code:
        if len(line) > COLUMNS:
            yield f"{len(line)} columns of code: {line[:60]} ..."


def _check_colours(css: str) -> Iterator[str]:
    """Say which colours of code are too close to their background, in light and dark."""
    backgrounds: dict[bool, str] = {}
    rules = []
    dark_from = css.find('data-theme="dark"')
    for match in _RULE.finditer(css):
        is_dark = dark_from >= 0 and match.start() > dark_from - 40
        colours = dict(_COLOUR.findall(match[2]))
        selector = match[1].strip().rpartition("\n")[2]
        background = colours.get("background") or colours.get("background-color")
        if selector.endswith(".highlight") and background:
            backgrounds.setdefault(is_dark, background)
        elif "color" in colours:
            rules.append((is_dark, selector, colours["color"], background))
    for is_dark, selector, colour, own in rules:
        behind = own or backgrounds.get(is_dark)
        if behind and "linenos" not in selector and contrast(colour, behind) < _LEAST_CONTRAST:
            ratio = contrast(colour, behind)
            yield f"pygments.css: {selector} has a contrast of {ratio:.1f} ({colour} on {behind})"


def contrast(first: str, second: str) -> float:
    """Contrast of two colours, ``"#rrggbb"`` or ``"#rgb"``, from 1 to 21 (WCAG 2.2)."""
    light, dark = sorted(map(_luminance, (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def main() -> int:
    """Check the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the built pages")
    wrong = list(check(parser.parse_args().folder))
    print("\n".join(wrong) or "all pages are well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
