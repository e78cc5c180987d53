"""The command in a kernelspec's argv: run a kernel on a board for the frontend that starts this.

You can run it by hand too: python -m rkernel_launcher --via ssh --host pi@raspberrypi -f FILE
"""

from __future__ import annotations

import logging
import sys

from . import errors, target
from .launcher import endings, last_words, log_file
from .launcher.launcher import Launcher
from .sanitize import escape_controls


def main(argv: list[str] | None = None) -> int:
    """Run a kernel until it ends; return the exit status.

    Args:
        argv: The arguments; those of this process by default.

    Raises:
        RkernelError: With --debug, what went wrong. Otherwise it becomes a line on stderr.
    """
    parser = target.parser(prog="python -m rkernel_launcher", description=__doc__)
    arguments, unknown = parser.parse_known_args(argv)
    if arguments.connection_file is None:
        parser.error("-f FILE is missing")
    log = log_file.start(arguments.connection_file, arguments.debug)

    def report(error: errors.RkernelError) -> None:
        logging.getLogger("rkernel_launcher").error("%s", error)
        place = f" (log: {log})" if log else ""
        print(escape_controls(str(error)) + place, file=sys.stderr, flush=True)

    try:
        wanted = target.from_arguments(arguments, unknown)
        launcher = Launcher(wanted, arguments.connection_file, on_failure=report)
    except errors.RkernelError as error:
        report(error)
        last_words.deliver(arguments.connection_file, error)
        return 1
    try:
        return launcher.run()
    except errors.RkernelError as error:
        if arguments.debug:
            raise
        if isinstance(error, errors.KernelDied):
            return endings.exit_status(int(str(error.facts["status"])))
        return 1


if __name__ == "__main__":
    sys.exit(main())
