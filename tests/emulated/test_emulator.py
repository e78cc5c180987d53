"""The emulated board is what the other tests take it for."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.armv7l import Armv7l
from tests.support.emulator.image import SUITES
from tests.support.emulator.machine import RPYC_PORT, SSH_PORT, BoardFailure, Machine
from tests.support.rpyc_sessions import over_tcp

on_each_suite = pytest.mark.parametrize("board", SUITES, indirect=True)


@pytest.fixture
def machine(board: Armv7l) -> Machine:
    return board.machine


@on_each_suite
def test_it_is_a_small_armv7l_board_with_an_ipykernel_ready_to_import(machine: Machine) -> None:
    assert machine.run("uname -m; nproc") == "armv7l\n1\n"
    (total,) = re.findall(r"MemTotal: +([0-9]+) kB", machine.run("cat /proc/meminfo"))
    assert int(total) < machine.memory * 1024
    machine.run("touch /root/before; python3 -c 'import ipykernel.kernelapp'")
    compiled = machine.run("find /usr/lib/python3* -newer /root/before -name '*.pyc*'")
    assert compiled == ""  # else the .pyc files in the image are not valid
    machine.run("rm /root/before")


@on_each_suite
def test_commands_run_as_either_user_and_fail_loudly(machine: Machine) -> None:
    assert machine.run("id -un; pwd") == "root\n/root\n"
    assert machine.run("id -un; pwd", user="student") == "student\n/home/student\n"
    with pytest.raises(BoardFailure, match=r"status 3(.|\n)*sorry"):
        machine.run("echo sorry >&2; exit 3")
    machine.hang_up()  # of student nothing is to stay: another test waits for that


@on_each_suite
def test_its_own_rpyc_server_answers_through_the_forwarded_port(machine: Machine) -> None:
    server = machine.start_rpyc()
    try:
        with closing(over_tcp("127.0.0.1", machine.port(RPYC_PORT), timeout=30)) as session:
            session.execute(
                "import json, platform\ndef which(): return json.dumps(platform.machine())"
            )
            assert session.call("which") == "armv7l"
    finally:
        machine.run(f"kill {server}")


def test_its_plug_can_be_pulled_and_put_back() -> None:
    with Machine(SUITES[0], memory=64) as machine:
        machine.run("echo kept >/root/note; sync")
        machine.power_off()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", machine.port(SSH_PORT)), 5)
        machine.power_on()
        assert machine.run("cat /root/note") == "kept\n"


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.emulator", SUITES[0], "--memory", "64"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"ssh -p")
        tasks = Path(f"/proc/{parent.pid}/task").glob("*/children")
        (qemu,) = " ".join(task.read_text() for task in tasks).split()
        watch = os.pidfd_open(int(qemu))
        parent.send_signal(signal.SIGKILL)
    try:
        ended, _, _ = select.select([watch], [], [], 30)
        assert ended, "qemu outlived the process that started it by 30 s"
    finally:
        os.close(watch)
