from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rkernel_launcher.sanitize import escape_controls


def test_controls_are_spelled_out() -> None:
    assert escape_controls("a\x1b[0m\r\x07\x00\x7f\x9b") == "a\\x1b[0m\\r\\x07\\x00\\x7f\\x9b"


def test_invisible_and_reversing_characters_are_spelled_out() -> None:
    assert (
        escape_controls("\u202e\u2066\u200b\u2028\ud800") == "\\u202e\\u2066\\u200b\\u2028\\ud800"
    )


def test_words_of_any_language_stay() -> None:
    text = "Grüße\n\t世界 🙂 Привет\u00a0!"
    assert escape_controls(text) == text


@given(st.text())
def test_what_comes_out_can_be_written_and_is_stable(text: str) -> None:
    once = escape_controls(text)
    once.encode("utf-8")
    assert escape_controls(once) == once
