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

rkernel prints each of these errors on one line of stderr. It exits with status 1, or with the
kernel's status after `KernelDied`, and writes nothing. `rkernel --debug` shows the traceback as
well. The launcher adds the path of its log, and the notebook's cell shows the error, too. rkernel
fills in the words in *italics*.

The tables are made from the classes in `rkernel_launcher/errors.py`.
"""
TABLE = """
## {title}

| Error | What it says | What to do |
| --- | --- | --- |
"""
GROUPS = RkernelError.__subclasses__()


def page() -> str:
    """Make the page: a table for each group that is directly below RkernelError."""
    tables = []
    for group in GROUPS:
        title = str(group.__doc__).partition("\n")[0].rstrip(".")
        tables.append(TABLE.format(title=title) + "".join(sorted(map(row, worded(group)))))
    tables.append(TABLE.format(title="Anything else") + row(RkernelError))
    return HEAD + "".join(tables)


def every(error: type[RkernelError]) -> Iterator[type[RkernelError]]:
    """Go through a class and those below it."""
    yield error
    for below in error.__subclasses__():
        yield from every(below)


def worded(error: type[RkernelError]) -> list[type[RkernelError]]:
    """Return those of a class and what is below it that have words; the others are groups."""
    return [found for found in every(error) if "message" in vars(found)]


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
    missing = {error.__name__ for error in worded(RkernelError)} - expected
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


def test_every_error_is_in_a_group() -> None:
    assert [group for group in GROUPS if "message" in vars(group)] == []
    for group in set(every(RkernelError)) - set(worded(RkernelError)):
        assert group.__subclasses__(), f"{group.__name__} has neither words nor members"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
