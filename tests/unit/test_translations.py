"""README.zh-CN.md says what README.md says: the same structure, code blocks, code and links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.boards import ROOT

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"

_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) ", re.MULTILINE)
_LINK = re.compile(r"!?\[[^]]*\]\(([^)]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_OTHER = re.compile(r".*简体中文.*")  # the line with the links to the other languages


def sections(name: str) -> list[str]:
    """Return a page cut at its headings, without the line that leads to the other languages."""
    text = (ROOT / name).read_text("utf-8")
    blocks = _BLOCK.findall(text)
    assert blocks
    text = _OTHER.sub("", _BLOCK.sub(lambda match: f"\0{blocks.index(match[0])}\0", text))
    parts = re.split(r"^(?=#+ )", text, flags=re.MULTILINE)[1:]
    return [re.sub(r"\0(\d+)\0", lambda match: blocks[int(match[1])], part) for part in parts]


def levels(part: str) -> object:
    return _HEADING.findall(_BLOCK.sub("", part))


def code_blocks(part: str) -> object:
    return _BLOCK.findall(part)


def links(part: str) -> object:
    return Counter(_LINK.findall(_BLOCK.sub("", part)))


def code(part: str) -> object:
    return Counter(" ".join(found.split()) for found in _CODE.findall(_BLOCK.sub("", part)))


def shape(part: str) -> object:
    """Return what each paragraph is: a list with its items, a table with its rows, or text."""
    paragraphs = [text for text in re.split(r"\n\s*\n", _BLOCK.sub("", part)) if text.strip()]
    return [(len(re.findall(r"^- ", p, re.MULTILINE)), p.count("\n|")) for p in paragraphs]


@pytest.mark.parametrize("aspect", [levels, code_blocks, links, code])
def test_a_translation_has_the_same_sections(aspect: Callable[[str], object]) -> None:
    english, chinese = sections(ENGLISH), sections(CHINESE)
    assert len(english) > 5
    for one, other in zip(english, chinese, strict=True):
        assert aspect(one) == aspect(other), f"{one.splitlines()[0]} | {other.splitlines()[0]}"


def test_a_translation_has_the_same_lists_and_tables() -> None:
    for one, other in zip(sections(ENGLISH), sections(CHINESE), strict=True):
        assert shape(one) == shape(other), f"{one.splitlines()[0]} | {other.splitlines()[0]}"


def test_each_readme_leads_to_the_other() -> None:
    assert f"]({CHINESE})" in (ROOT / ENGLISH).read_text("utf-8")
    assert f"]({ENGLISH})" in (ROOT / CHINESE).read_text("utf-8")
