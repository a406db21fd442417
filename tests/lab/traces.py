"""What of a lab is on this machine: counted before and after, so that nothing is left behind."""

import os
from collections.abc import Iterator
from pathlib import Path

from hamgr.lab import systemd
from hamgr.lab.cgroup import LABS, Cgroup, mount
from hamgr.lab.netns import NETNS
from hamgr.lab.spec import Owner, directory


def traces(name: str) -> dict[str, list[str]]:
    """Return namespaces, mounts, processes, control groups and files of one lab."""
    words = (f"hamgrlab-{name}-", f"/hamgr-lab/{name}/")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {
        "namespaces": [path.name for path in NETNS.glob(f"hamgrlab-{name}-*")],
        "mounts": [line for line in mounts if any(word in line for word in words)],
        "processes": [str(process) for process in Path("/proc").glob("[0-9]*")
                      if any(word in text for text in marks(process) for word in words)],
        "groups": [str(tree / LABS / name) for tree in (mount(), systemd.named_tree())
                   if tree is not None and (tree / LABS / name).exists()],
        "files": [str(path) for path in [directory(name)] if path.exists()] + [
            str(path) for path in Path("/run/systemd/nspawn").glob(f"*/hamgrlab-{name}-*")],
    }
    return {kind: things for kind, things in found.items() if things}


def marks(process: Path) -> Iterator[str]:
    """Yield what gives a process away: its command line and open files. A zombie has neither.

    The command line of a dead-man's switch names no lab, but its log is in the lab's directory.
    """
    try:
        yield (process / "cmdline").read_text(errors="replace").replace("\0", " ")
        for link in (process / "fd").iterdir():
            yield os.readlink(link)
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return
    except PermissionError:  # not even root may look into it: no lab has such processes
        return


def inhabitants(name: str) -> list[Owner]:
    """Return every process of a lab, so that it can be told later whether it still runs."""
    found = [Owner.of(pid) for pid in Cgroup.of_lab(name).pids()]
    return [process for process in found if process.alive]
