"""What `rkernel doctor` says, taken apart."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from rkernel_launcher.errors import RkernelError
from tests.support.commands import Run

_LINE = re.compile(r"([✓✗]) (.{9}) (\S.*)")


@dataclass
class Diagnosis:
    """What it says.

    `good` and `wrong` are the lines with ✓ and ✗: what was found, by the title of the rung;
    `remedies` what to do; `last` is the title of the highest rung that it looked at.
    """

    good: dict[str, str]
    wrong: dict[str, str]
    remedies: dict[str, str]
    last: str

    def names(self, title: str, error: type[RkernelError], *words: str) -> None:
        """See that a rung is wrong, with an error's sentence and remedy.

        Parameters: words that they must contain, for what the error is about.
        """
        assert title in self.wrong, self
        for said, form in (
            (self.wrong[title], error.message),
            (self.remedies.get(title, ""), error.remedy),
        ):
            assert re.fullmatch(_pattern(form), said), f"{said!r} is not {form!r}"
        for word in words:
            assert word in f"{self.wrong[title]} {self.remedies[title]}", self

    def ends(self, title: str, error: type[RkernelError], *words: str) -> None:
        """See the same, that nothing else is wrong, and that this was the last rung."""
        self.names(title, error, *words)
        assert set(self.wrong) == {title} and self.last == title, self


def diagnosis(run: Run) -> Diagnosis:
    """Read the output of `rkernel doctor`."""
    assert run.stderr == "", run.stderr
    found = Diagnosis({}, {}, {}, "")
    for line in run.stdout.splitlines():
        if match := _LINE.fullmatch(line):
            mark, title, text = match.groups()
            found.last = title.strip()
            (found.good if mark == "✓" else found.wrong)[found.last] = text
        elif line.startswith("   "):
            found.remedies[found.last] = line.strip()
    assert run.returncode == (1 if found.wrong else 0), run.stdout
    assert run.stdout.splitlines()[-1] == (
        "Something is wrong: see ✗ above." if found.wrong else "All is well."
    )
    return found


def _pattern(form: str) -> str:
    parts = string.Formatter().parse(form)
    return "".join(re.escape(text) + (".+" if field else "") for text, field, *_ in parts)
