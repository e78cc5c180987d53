"""Run jupyter_kernel_test on the kernel named as argument; print as JSON what passed and failed."""

from __future__ import annotations

import io
import json
import sys
import unittest
from collections import defaultdict

import jupyter_kernel_test

jupyter_kernel_test.TIMEOUT = 60  # seconds; an emulated board is slow


class TheKernel(jupyter_kernel_test.KernelTests):
    kernel_name = sys.argv[1]
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('error', file=sys.stderr)"
    completion_samples = ({"text": "zi", "matches": {"zip"}},)
    complete_code_samples = ("1", "print('x')", "def f(x):\n  return x\n\n")
    incomplete_code_samples = ("print('''x", "def f(x):\n  x")
    invalid_code_samples = ("import = 7q",)
    code_page_something = "zip?"
    code_generate_error = "raise ValueError('on purpose')"
    code_execute_result = (
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    )
    code_display_data = (
        {
            "code": "from IPython.display import HTML, display; display(HTML('<b>x</b>'))",
            "mime": "text/html",
        },
        {
            "code": "from IPython.display import Math, display; display(Math('x'))",
            "mime": "text/latex",
        },
    )
    supported_history_operations = ("tail", "range", "search")
    code_history_pattern = "1?2*"
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = sys.argv[1]
    support_iopub_welcome = True


class Result(unittest.TestResult):
    """Remembers each test, and each part of one, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.named: dict[str, list[str]] = defaultdict(list)

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.named["passed"].append(_name(test))

    def addFailure(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        self.named["failed"].append(_name(test))

    addError = addFailure  # noqa: N815

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:  # noqa: N802
        self.named["passed" if err is None else "failed"].append(_name(subtest))


def _name(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[2] if "(" not in test.id() else test.id().partition(".")[2]


if __name__ == "__main__":
    loader = unittest.TestLoader()
    tests = unittest.TestSuite(map(loader.loadTestsFromTestCase, (TheKernel, Welcome)))
    result = Result()
    output, sys.stdout = sys.stdout, io.StringIO()
    tests.run(result)
    json.dump(result.named, output)
