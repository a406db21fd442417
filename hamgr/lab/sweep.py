"""The labs of this machine, and taking them down, whole or half-made, by their names alone."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hamgr.lab import booted, netns
from hamgr.lab.cgroup import LABS, Cgroup, mount
from hamgr.lab.spec import ROOT, LabState, directory, load, namespace, save


@contextmanager
def registry() -> Iterator[None]:
    """Hold the lock under which labs come into being and go."""
    descriptor = _lock()
    try:
        yield
    finally:
        with suppress(OSError):  # other labs are there
            ROOT.rmdir()
        os.close(descriptor)


def _lock() -> int:
    """Return the directory of all labs, locked. Who held it before may have removed it."""
    while True:
        ROOT.mkdir(exist_ok=True)
        try:
            descriptor = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_root(descriptor):
            return descriptor
        os.close(descriptor)


def _is_root(descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), ROOT.stat())
    except FileNotFoundError:
        return False


def enter(state: LabState) -> None:
    """Write a lab down before anything of it is made. Call it under the lock."""
    path = directory(state.spec.name)
    path.mkdir(mode=0o755)
    save(path, state)


def remove(name: str) -> None:
    """Take everything of a lab away: processes, mounts, namespaces, links, control groups, files.

    Call it under the lock. What is half-made or half-gone already is no obstacle.
    """
    Cgroup.of_lab(name).remove()  # first: from here on nothing can be made any more
    booted.forget(name)
    netns.delete(netns.existing(namespace(name, "")))
    shutil.rmtree(directory(name), ignore_errors=True)


def names() -> list[str]:
    """Return every lab of which anything is left."""
    prefix = namespace("", "").removesuffix("-")
    found = {path.name for path in ROOT.glob("*") if path.is_dir()}
    found |= {name.removeprefix(prefix).split("-")[0] for name in netns.existing(prefix)}
    found |= {path.name for path in (mount() / LABS).glob("*/")}
    return sorted(found)


def abandoned(state: LabState | None) -> bool:
    """Whether nobody will ever take this lab down: its owner died, or it was half-made."""
    if state is None:
        return True
    return not state.owner.alive if state.owner is not None else not state.ready


def sweep() -> list[str]:
    """Remove every lab that is abandoned; return their names. Call it under the lock."""
    gone = [name for name in names() if abandoned(load(directory(name)))]
    for name in gone:
        remove(name)
    return gone
