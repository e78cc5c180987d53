"""A ladder: in order, until the next rung would make no sense."""

from __future__ import annotations

import logging
import re
from contextlib import nullcontext

from rkernel_launcher.cli.doctor import ladder, pc
from rkernel_launcher.cli.doctor.rung import Finding, Rung, climb
from rkernel_launcher.errors import NoSuchKernel, RkernelError
from tests.support.boards import ROOT

log = logging.getLogger("rkernel_launcher.board")


def fine(subject: str) -> str:
    log.debug("looking at %s", subject)
    return f"{subject} is fine"


def odd(subject: str) -> RkernelError:
    return NoSuchKernel(name=subject)


def broken(subject: str) -> str:
    raise NoSuchKernel(name=subject)


def mistaken(subject: str) -> str:
    raise ValueError("our mistake")


def absent(subject: str) -> None:
    pass


def found(*looks: object) -> list[Finding]:
    rungs = [Rung(look.__name__, look) for look in looks]  # type: ignore[attr-defined,arg-type]
    return list(climb(rungs, "pi", lambda title: nullcontext()))


def test_an_error_that_is_returned_does_not_end_it_and_one_that_is_raised_does() -> None:
    findings = found(fine, absent, odd, fine, broken, fine)
    assert [finding.title for finding in findings] == ["fine", "odd", "fine", "broken"]
    assert [finding.wrong for finding in findings] == ["", "NoSuchKernel", "", "NoSuchKernel"]
    assert findings[1].text == "rkernel has added no kernel named pi."
    assert findings[1].remedy == NoSuchKernel.remedy


def test_what_is_logged_meanwhile_belongs_to_the_rung() -> None:
    before = logging.getLogger("rkernel_launcher").handlers[:]
    assert found(fine)[0].log == ["looking at pi"]
    assert logging.getLogger("rkernel_launcher").handlers == before


def test_a_mistake_of_ours_is_told_with_its_traceback() -> None:
    (finding,) = found(mistaken, fine)
    assert finding.wrong == "RkernelError" and "our mistake" in finding.text
    assert "Traceback" in finding.log[-1]


def test_the_documentation_lists_each_rung() -> None:
    page = (ROOT / "docs" / "it-does-not-work.md").read_text("utf-8")
    table = page.partition("| step |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| ([A-Z][^|]*) \|", table, re.MULTILINE) == [
        rung.title for rung in ladder.LADDER
    ]
    assert page.count("\n### ") == 20


def test_titles_fit_their_column() -> None:
    assert all(len(rung.title) <= 9 for rung in [*ladder.LADDER, *pc.RUNGS])
