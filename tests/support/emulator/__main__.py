"""Boot a board to try things on by hand: python -m tests.support.emulator bookworm."""

import argparse
import threading

from .image import STUDENT_PASSWORD, SUITES, available
from .machine import SSH_PORT, Machine


def main() -> None:
    """Boot a board, say how to reach it, and keep it until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.emulator", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--memory", type=int, default=256, help="in MB")
    arguments = parser.parse_args()
    if reason := available():
        parser.exit(1, f"{reason}\n")
    with Machine(arguments.suite, memory=arguments.memory) as board:
        port = board.port(SSH_PORT)
        options = f"-i {board.key} -o UserKnownHostsFile={board.known_hosts}"
        print(f"ssh -p {port} {options} root@127.0.0.1")
        print(f"or as student, with the password {STUDENT_PASSWORD}")
        print(f"rkernel add --host 127.0.0.1 --port {port} --user root --identity {board.key}")
        print(f"board's ports here: {board.ports}")
        print(f"console: {board.console}\nCtrl-C pulls the plug.", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
