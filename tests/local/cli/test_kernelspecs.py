"""What is written for Jupyter and VS Code, and that nothing is ever half-written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.kernelspecapp import ListKernelSpecs

from rkernel_launcher.board.answers import Facts
from rkernel_launcher.cli import kernelspecs
from rkernel_launcher.errors import BadName, ForeignName, KernelsUnusable, NameTaken, NoSuchKernel
from rkernel_launcher.target import Target
from tests.support.boards import Board
from tests.support.commands import disk, fill, kernels

FACTS = Facts(
    model=r"Raspberry\x1b[2J Pi",
    machine="armv7l",
    system="Linux",
    os="Debian",
    hostname="kitchen",
    python="3.11.2",
    executable="/usr/bin/python3",
    packages={"ipykernel": "6.17.0"},
    missing=[],
    requires=[],
    encoder=None,
    memory_total=None,
    memory_available=None,
    installers=[],
    pip=False,
)
BOARD = Target(host="192.168.43.44", via="ssh")


def add(name: str = "board", board: Target = BOARD, facts: Facts | None = FACTS) -> Path:
    display_name = kernelspecs.default_display_name(name, board, facts)
    return kernelspecs.write(name, kernelspecs.make(name, display_name, board, facts))


def foreign(home: Board, name: str) -> None:
    folder = home.specs / name
    folder.mkdir(parents=True)
    spec = {"argv": ["true"], "display_name": "Theirs", "language": "python", "metadata": []}
    (folder / "kernel.json").write_text(json.dumps(spec))


def test_jupyter_finds_the_whole_spec(home: Board) -> None:
    board = Target(host="pi", via="ssh", debugger=True)
    folder = add("board", board)
    found = KernelSpecManager().get_kernel_spec("board")
    written = json.loads((folder / "kernel.json").read_text())
    assert set(written) <= {*KernelSpec.class_trait_names(), "name"}
    assert "kernel_protocol_version" not in written
    assert {key: value for key, value in found.to_dict().items() if value} == {
        "argv": [
            *(sys.executable, "-m", "rkernel_launcher"),
            *("--host=pi", "--via=ssh", "--debugger"),
            *("-f", "{connection_file}"),
        ],
        "display_name": "Python 3.11 on kitchen (pi)",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {
            "debugger": True,
            "rkernel": {
                "host": "pi",
                "via": "ssh",
                "model": "Raspberry\\x1b[2J Pi",
                "machine": "armv7l",
                "python": "3.11.2",
                "added": written["metadata"]["rkernel"]["added"],
            },
        },
    }
    assert sorted(path.name for path in folder.iterdir()) == [
        *("kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg")
    ]
    for size in (32, 64):
        png = (folder / f"logo-{size}x{size}.png").read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert png[16:24] == size.to_bytes(4, "big") * 2
    assert folder.stat().st_mode & 0o777 == 0o755


def test_jupyter_kernelspec_list_has_no_complaint(
    home: Board, capfd: pytest.CaptureFixture[str]
) -> None:
    add()
    ListKernelSpecs(kernel_spec_manager=KernelSpecManager()).start()
    captured = capfd.readouterr()
    assert "board" in captured.out and captured.err == ""


@pytest.mark.parametrize(
    ("ipykernel", "mode"),
    [
        ("5.5.6", "signal"),
        ("6.1.0", "signal"),
        ("6.2.0", "message"),
        ("6.17.1", "message"),
        ("7.0.0rc1", "message"),
        ("nonsense", "message"),
        (None, "message"),
    ],
)
def test_an_old_ipykernel_is_interrupted_by_a_signal(ipykernel: str | None, mode: str) -> None:
    facts = FACTS._replace(packages={"ipykernel": ipykernel})
    assert kernelspecs.make("x", "X", BOARD, facts)["interrupt_mode"] == mode


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.168.43.44", "rkernel-192.168.43.44"),
        ("Pi_4.local", "rkernel-pi_4.local"),
        ("fe80::1%eth0", "rkernel-fe80--1-eth0"),
        ("küche", "rkernel-k-che"),
        ("", "rkernel-local"),
    ],
)
def test_a_name_from_the_host(home: Board, host: str, name: str) -> None:
    assert kernelspecs.default_name(Target(host=host, via="ssh" if host else "local")) == name
    kernelspecs.check_name(name, replace=False)


def test_no_two_kernels_look_alike(home: Board) -> None:
    names = [add("one"), add("two"), add("three", facts=None), add("four", facts=None), add("one")]
    shown = [entry.spec["display_name"] for entry in kernelspecs.find().values() if entry.metadata]
    assert len(names) == 5
    assert sorted(shown) == [
        "Python 3.11 on kitchen (192.168.43.44)",
        "Python 3.11 on kitchen (192.168.43.44) [two]",
        "Python on 192.168.43.44",
        "Python on 192.168.43.44 [four]",
    ]


@pytest.mark.parametrize("name", ["", "..", ".x", "a/b", "a b", "ä", "x\n", "../../x", "-x"])
def test_names_that_name_no_kernel(home: Board, name: str) -> None:
    with pytest.raises(BadName):
        kernelspecs.check_name(name, replace=True)


def test_names_that_are_taken(home: Board) -> None:
    add("ours")
    foreign(home, "theirs")
    kernelspecs.check_name("ours", replace=True)
    with pytest.raises(NameTaken) as caught:
        kernelspecs.check_name("OURS", replace=False)
    assert type(caught.value) is NameTaken
    for name in ("theirs", "python3"):
        with pytest.raises(ForeignName):
            kernelspecs.check_name(name, replace=True)


def test_only_ours_are_removed_and_all_or_none(home: Board) -> None:
    add("one")
    add("two")
    foreign(home, "theirs")
    with pytest.raises(NoSuchKernel, match=r"theirs, gone\."):
        kernelspecs.remove(("one", "theirs", "gone"))
    assert kernels(home) == ["one", "theirs", "two"]
    kernelspecs.remove(("one", "Two"))
    assert kernels(home) == ["theirs"]


def test_a_full_disk_leaves_what_was_there(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(home.folder / "disk", "size=64k") as folder:
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder))
        before = (add() / "kernel.json").read_text()
        fill(folder)
        with pytest.raises(KernelsUnusable, match="No space"):
            add(board=Target(host="other", via="ssh", env=(("A", "x" * 5000),)))
        assert sorted(path.name for path in folder.iterdir()) == ["full", "kernels"]
        assert [path.name for path in (folder / "kernels").iterdir()] == ["board"]
        assert (folder / "kernels/board/kernel.json").read_text() == before


def test_a_folder_that_cannot_be(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.folder / "file").write_text("")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(home.folder / "file"))
    with pytest.raises(KernelsUnusable, match="file"):
        add()


def test_kernels_that_others_broke_are_passed_over(home: Board) -> None:
    add()
    for name, text in {"empty": "", "list": "[]", "bytes": "\udcff"}.items():
        folder = home.specs / name
        folder.mkdir()
        (folder / "kernel.json").write_text(text, errors="surrogateescape")
    assert [name for name, entry in kernelspecs.find().items() if entry.metadata] == ["board"]
