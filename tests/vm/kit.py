"""What a virtual machine is made of: Debian's kernel, a few of its modules, a static busybox.

Both packages are downloaded as files and unpacked, never installed.
The machine's root is this machine's own, read-only, over 9p; so nothing is copied into it either.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build/vm"
KERNEL, BUSYBOX = "linux-image-amd64", "busybox-static"
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "modprobe": "kmod", "cpio": "cpio",
            "apt-get": "apt"}
"""What must be there, and the package that has it."""
MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay", "e1000")
"""Loaded before the root is mounted, with what they need."""
WATCHDOGS = ("softdog", "i6300esb")
"""Put into the initramfs, to be loaded by whoever wants one."""
DOWNLOAD_S = 300


class CannotBeHad(Exception):
    """No virtual machine here; the text says why."""


class Kit:
    """A kernel and an initramfs."""

    def __init__(self, folder: Path) -> None:
        self.kernel, self.initramfs = folder / "vmlinuz", folder / "initramfs"


def kit() -> Kit:
    """Return what a machine boots with; made once, and kept. Raises CannotBeHad."""
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise CannotBeHad(f"not installed: {', '.join(missing)}")
    made = CACHE / "kit"
    if not made.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _make(Path(folder))
    _initramfs(made)  # anew each time: it is small, and this file may have changed
    return Kit(made)


def _make(folder: Path) -> None:
    """Download and unpack; what another run has made meanwhile is as good."""
    unpacked = folder / "kit"
    for package in (_newest_kernel(), BUSYBOX):
        _run("apt-get", "download", "-q", package, cwd=folder)
    for file in folder.glob("*.deb"):
        _run("dpkg-deb", "-x", str(file), str(unpacked))
    kernel, = (unpacked / "boot").glob("vmlinuz-*")
    kernel.rename(unpacked / "vmlinuz")
    _run("depmod", "-b", str(unpacked), _version(unpacked))
    with contextlib.suppress(OSError):  # another run was faster
        unpacked.rename(CACHE / "kit")


def _newest_kernel() -> str:
    """Return the package that the metapackage stands for."""
    said = _run("apt-cache", "depends", KERNEL)
    names = [line.split()[-1] for line in said.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise CannotBeHad(f"apt knows no {KERNEL}")
    return names[0]


def _version(unpacked: Path) -> str:
    version, = os.listdir(unpacked / "lib/modules")
    return version


def _initramfs(made: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        folder = Path(name)
        (folder / "m").mkdir()
        shutil.copy(made / "bin/busybox", folder / "busybox")
        order = []
        for module in (*MODULES, *WATCHDOGS):
            said = _run("modprobe", "-d", str(made), "-S", _version(made), "--show-depends", module)
            files = [Path(line.split()[1]) for line in said.splitlines()
                     if line.startswith("insmod")]
            for file in files:
                shutil.copy(file, folder / "m")
            order += [file.name for file in files if module in MODULES]
        (folder / "m/order").write_text("\n".join(dict.fromkeys(order)) + "\n")
        (folder / "init").write_text((Path(__file__).parent / "init").read_text())
        (folder / "init").chmod(0o755)
        archive = folder.with_suffix(".cpio")
        names = "\n".join(str(each.relative_to(folder)) for each in folder.rglob("*"))
        with archive.open("wb") as out:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=folder, check=True,
                           stdout=out, input=names.encode())
        archive.rename(made / "initramfs")


def _run(*argv: str, cwd: Path = ROOT) -> str:
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True, cwd=cwd,
                              timeout=DOWNLOAD_S).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise CannotBeHad(f"{' '.join(argv)}: {said.strip()[-300:]}") from error
