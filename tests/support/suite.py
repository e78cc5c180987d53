"""Run jupyter_kernel_test on the kernel named as argument; print as JSON what passed and failed."""

from __future__ import annotations

import ast
import faulthandler
import io
import json
import sys
import unittest

import jupyter_kernel_test

LIMIT = 120  # seconds for all of it; some of the suite's own waits have no end


class TheKernel(jupyter_kernel_test.KernelTests):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        Welcome.support_iopub_welcome = cls._ipykernel() >= (7, 2)  # where welcomes came

    @classmethod
    def _ipykernel(cls) -> tuple[int, ...]:
        asked = {"version": "__import__('ipykernel').version_info[:2]"}
        reply = cls.kc.execute("", silent=True, user_expressions=asked, reply=True)
        answer = reply["content"]["user_expressions"]["version"]["data"]["text/plain"]
        return tuple(ast.literal_eval(answer))

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


class Result(unittest.TestResult):
    """Remembers each test, and each part of one, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.named: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.named["passed"].append(_name(test))

    def addFailure(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        self.named["failed"].append(_name(test))

    addError = addFailure  # noqa: N815

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self.named["skipped"].append(_name(test))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:  # noqa: N802
        self.named["passed" if err is None else "failed"].append(_name(subtest))


def _name(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[2] if "(" not in test.id() else test.id().partition(".")[2]


if __name__ == "__main__":
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    loader = unittest.TestLoader()
    tests = unittest.TestSuite(map(loader.loadTestsFromTestCase, (TheKernel, Welcome)))
    result = Result()
    output, sys.stdout = sys.stdout, io.StringIO()
    tests.run(result)
    json.dump(result.named, output)
