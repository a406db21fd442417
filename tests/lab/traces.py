"""What of a lab is on this machine: counted before and after, so that nothing is left behind."""

from pathlib import Path

from hamgr.lab.cgroup import Cgroup
from hamgr.lab.netns import NETNS
from hamgr.lab.spec import directory


def traces(name: str) -> dict[str, list[str]]:
    """Return namespaces, mounts, processes, control groups and files of one lab."""
    words = (f"hamgrlab-{name}-", f"/hamgr-lab/{name}/")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {
        "namespaces": [path.name for path in NETNS.glob(f"hamgrlab-{name}-*")],
        "mounts": [line for line in mounts if any(word in line for word in words)],
        "processes": [text for text in command_lines() if any(word in text for word in words)],
        "groups": [str(path) for path in [Cgroup.of_lab(name).path] if path.exists()],
        "files": [str(path) for path in [directory(name)] if path.exists()],
    }
    return {kind: things for kind, things in found.items() if things}


def command_lines() -> list[str]:
    """Return the command line of every process; that of a zombie is empty."""
    texts = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            texts.append(path.read_text(errors="replace").replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return texts
