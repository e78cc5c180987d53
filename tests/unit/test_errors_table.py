"""docs/errors.md has a row for each class of rkernel_launcher/errors.py, and each row a test.

The rows are made from the classes. After a change there, write the page again with:

    python -m tests.unit.test_errors_table
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from rkernel_launcher.errors import RkernelError
from tests.support.boards import ROOT

PAGE = ROOT / "docs" / "errors.md"
HEAD = """# What can go wrong

Each of these is one sentence on stderr and a non-zero exit status (that of the kernel for
`KernelDied`, 1 for the others); nothing is written. `rkernel --debug` shows the traceback as well.
The launcher adds where its log is. Words in *italics* are filled in.

The table is made from the classes in `rkernel_launcher/errors.py`.

| Error | What it says | What to do |
| --- | --- | --- |
"""


def page() -> str:
    """Make the page."""
    return HEAD + "".join(sorted(row(error) for error in every(RkernelError)))


def every(error: type[RkernelError]) -> Iterator[type[RkernelError]]:
    """Go through a class and those below it."""
    yield error
    for below in error.__subclasses__():
        yield from every(below)


def row(error: type[RkernelError]) -> str:
    """Make a line of the table."""
    words = (_shown(error.message), _shown(error.remedy))
    return f"| `{error.__name__}` | {words[0]} | {words[1]} |\n"


def _shown(text: str) -> str:
    return re.sub(r"{(\w+)[^}]*}", r"*\1*", text).replace("|", r"\|").replace("<", "&lt;")


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.unit.test_errors_table"


def test_every_error_is_expected_by_a_test() -> None:
    expected: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        expected |= expected_in(ast.parse(path.read_text("utf-8")))
    missing = {error.__name__ for error in every(RkernelError)} - expected
    assert not missing, f"no test expects {missing}"


def expected_in(tree: ast.Module) -> set[str]:
    """Return the names that a test hands on, as to pytest.raises; not what it imports or calls."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    used = [node for node in ast.walk(tree) if id(node) not in called]
    plain = {node.id for node in used if isinstance(node, ast.Name)}
    return plain | {node.attr for node in used if isinstance(node, ast.Attribute)}


def test_a_name_that_is_imported_or_called_is_not_expected() -> None:
    source = "from errors import (One, Two)\nraises(errors.Three, Four)\nraise Five(Six.remedy)"
    assert expected_in(ast.parse(source)) & {"One", "Two", "Three", "Four", "Five"} == {
        "Three",
        "Four",
    }


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
