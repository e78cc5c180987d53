"""The board's image: Debian's armhf packages made bootable, built once and cached.

No maintainer script runs while packages are only unpacked, so this file does by hand the few
things that they would have done: users, links, host keys, byte-compiled modules.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import debian
from tests.support.cache import KEPT, kept

SUITES = ("bookworm", "trixie")

PACKAGES = [
    "base-files",
    "busybox-static",
    "coreutils",
    "dash",
    "dropbear-bin",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "libc-bin",
    "linux-image-armmp",
    "mount",
    "openssh-server",
    "openssh-sftp-server",
    "procps",
    "python3",
    "python3-ipykernel",
    "python3-numpy",
    "python3-pil",
    "python3-pip",
    "python3-rpyc",
    "python3-venv",
    "sed",
    "tar",
]

MODULES = ("virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "crc32c_generic", "ext4")

TOOLS = {
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-arm": "qemu-system-arm",
    "setpriv": "util-linux",
    "ssh-keygen": "openssh-client",
}

INITRAMFS_INIT = """\
#!/bin/busybox sh
set -e
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /$module.ko; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""

RC = """\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm /dev/shm
mount -t tmpfs -o mode=755,nosuid,nodev run /run
mkdir -m 755 /run/sshd
mkdir -m 1777 /run/lock
ln -s /proc/self/fd /dev/fd
hostname -F /etc/hostname
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
"""

STUDENT_PASSWORD = "sipeed"
STUDENT_HASH = (
    "$6$board$mMeCGDa/w61"
    "/bUV/ObOD8.7Y8r7OKi4rEdP0DN4Sg5lCfZ/gnVfnbiK6XmwE.69G6BuZQ.aCb24a4q54fuJDD1"
)

FILES = {
    "etc/fstab": "",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nstudent:x:1000:\n",
    "etc/hostname": "board\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 board\n",
    "etc/inittab": "::sysinit:/etc/rc\n::respawn:/usr/sbin/sshd -D -e\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\n"
        "sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        "student:x:1000:1000::/home/student:/bin/sh\n"
    ),
    "etc/rc": RC,
    "etc/shadow": (
        "root:*:19000:0:99999:7:::\n"
        "sshd:*:19000:0:99999:7:::\n"
        "nobody:*:19000:0:99999:7:::\n"
        f"student:{STUDENT_HASH}:19000:0:99999:7:::\n"
    ),
    "etc/shells": "/bin/sh\n",
    "etc/ssh/sshd_config": (
        "PermitRootLogin yes\n"
        "PasswordAuthentication yes\n"
        "AllowTcpForwarding yes\n"
        "MaxSessions 32\n"
        "MaxStartups 100\n"
        "UseDNS no\n"
        "UsePAM no\n"
        "PrintMotd no\n"
        "Subsystem sftp /usr/lib/openssh/sftp-server\n"
    ),
}


def available() -> str | None:
    """Say why no board can be emulated on this machine.

    Returns: the reason, or None when there is none.
    """
    if sys.platform != "linux":
        return "the emulated board needs Linux"
    missing = sorted(package for tool, package in TOOLS.items() if not shutil.which(tool))
    if missing:
        return f"the emulated board needs: apt-get install {' '.join(missing)}"
    if all((KEPT / _name(suite) / "rootfs.ext4").exists() for suite in SUITES):
        return None
    if os.geteuid() != 0:
        return "the emulated board's image is built as root"
    if not debian.mirror():
        return "no Debian mirror is named in /etc/apt"
    return None


def build(suite: str) -> Path:
    """Make the board's image, or find it in the cache.

    Parameters: suite, one of SUITES.
    Returns: a folder with vmlinuz, initramfs, rootfs.ext4, key (and key.pub), host_keys.
    Raises: subprocess.CalledProcessError when a tool fails.
    """
    return kept(_name(suite), lambda image: _make(suite, image))


def _name(suite: str) -> str:
    recipe = hashlib.sha256(Path(__file__).read_bytes() + suite.encode()).hexdigest()
    return f"board-{suite}-{recipe[:16]}"


def _make(suite: str, image: Path) -> None:
    # The board's files lie inside those of a Debian of this machine's own architecture, whose
    # Python, being of the same suite, writes just the .pyc files that the board's would write.
    scratch = image.parent
    native, root = scratch / "native", scratch / "native" / "board"
    image.mkdir()
    debian.unpack(suite, native, ["base-files", "python3"])
    links = 'for d in bin sbin lib; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'
    debian.unpack(suite, root, PACKAGES, "--architectures=armhf", f"--setup-hook={links}")
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    kernel.rename(image / "vmlinuz")
    _write_initramfs(root, scratch / "initramfs", image / "initramfs")
    _configure(root)
    _write_keys(root, image)
    _compile(native)
    _run("mke2fs", "-q", "-t", "ext4", "-d", root, image / "rootfs.ext4", "1G")


def _write_initramfs(root: Path, scratch: Path, target: Path) -> None:
    for folder in ("bin", "dev", "root"):
        (scratch / folder).mkdir(parents=True)
    shutil.copy2(root / "bin/busybox", scratch / "bin")
    files = {
        re.sub(r"\.ko.*", "", file.name).replace("-", "_"): file
        for file in (root / "lib/modules").rglob("*.ko*")
    }
    loaded: list[str] = []

    def add(name: str) -> None:
        if name in loaded or name not in files:  # not a file: it is built in
            return
        data = files[name].read_bytes()
        data = lzma.decompress(data) if files[name].suffix == ".xz" else data
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for needed in depends[1].decode().split(",") if depends else []:
            add(needed.replace("-", "_"))
        (scratch / f"{name}.ko").write_bytes(data)
        loaded.append(name)

    for name in MODULES:
        add(name)
    (scratch / "init").write_text(INITRAMFS_INIT.format(modules=" ".join(loaded)))
    (scratch / "init").chmod(0o755)
    pack = "find . | cpio --quiet -o -H newc -R 0:0 | gzip -1"
    with target.open("wb") as output:
        subprocess.run(["sh", "-ec", pack], cwd=scratch, stdout=output, check=True)


def _configure(root: Path) -> None:
    for folder in ("boot", "usr/lib/modules", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / folder, ignore_errors=True)
    for name, text in FILES.items():
        (root / name).write_text(text)
    (root / "etc/rc").chmod(0o755)
    (root / "etc/shadow").chmod(0o600)
    (root / "tmp").chmod(0o1777)
    for name in ("init", "poweroff", "reboot"):
        (root / "usr/sbin" / name).unlink(missing_ok=True)
        (root / "usr/sbin" / name).symlink_to("/bin/busybox")
    (root / "etc/dropbear").mkdir(exist_ok=True)
    libraries = root / "usr/lib/arm-linux-gnueabihf"
    for file in [*libraries.glob("blas/*.so.3"), *libraries.glob("lapack/*.so.3")]:
        (libraries / file.name).symlink_to(file.relative_to(libraries))


def _write_keys(root: Path, image: Path) -> None:
    _run("ssh-keygen", "-q", "-A", "-f", root)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "board", "-f", image / "key")
    for home, owner in ((root / "root", 0), (root / "home/student", 1000)):
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        shutil.copy(image / "key.pub", home / ".ssh/authorized_keys")
        for path in (home, home / ".ssh", home / ".ssh/authorized_keys"):
            os.chown(path, owner, owner)
    public = sorted((root / "etc/ssh").glob("ssh_host_*_key.pub"))
    keys = [" ".join(file.read_text().split()[:2]) for file in public]
    (image / "host_keys").write_text("".join(f"{key}\n" for key in keys))


def _compile(native: Path) -> None:
    compileall = ("-X", "utf8", "-m", "compileall", "-qq", "-j", "0")
    folders = [f"/{path.relative_to(native)}" for path in native.glob("board/usr/lib/python3*")]
    _run("chroot", native, "python3", *compileall, "-s", "/board", "-p", "/", *folders)


def _run(*command: str | Path) -> None:
    quiet = subprocess.DEVNULL
    subprocess.run(command, stdin=quiet, stdout=quiet, check=True)
