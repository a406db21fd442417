"""`python -m tests.compiled`: engine and simulator as machine code, for whoever simulates for long.

mypyc compiles the modules below, from the very text that agents run, into build/compiled: more than
twice as many cluster-seconds in a second. Records, events and effects stay as they are, since
msgspec makes their classes. Planted mistakes and the counting of rules put other functions in
place of some, which machine code does not allow: they run from the source.

Before it ends, some seeds are run both ways: they must have the same story, and leave engines that
hold as much.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "compiled"
GROUPS = {
    "decisions": (*(f"core/{name}" for name in (
        "activity", "beat", "electorate", "knowledge", "lease", "liveness", "maintenance",
        "monitors", "parts", "rights", "scars", "seat", "service", "voice")),
        *(f"leader/{name}" for name in (
            "changes", "choice", "heirs", "leadership", "moves", "place", "placement", "planner",
            "situation", "terms", "ties")), "engine"),
    "world": tuple(f"simulation/{name}" for name in (
        "addresses", "agent", "clock", "conduct", "connection", "disk", "host", "kernel",
        "network", "services", "session", "switch", "twin", "zookeeper")),
}
"""Where the time goes; each group becomes one library, and has a processor to itself."""
SEEDS = 4
STORIES = f"""
import hashlib
from hamgr import engine
from hamgr.simulation.batch import Options, scenario_of
from hamgr.simulation.growth import _sizes
from hamgr.simulation.world import World
for seed in range({SEEDS}):
    world = World(scenario_of(seed, Options(seconds=8)), record=True)
    verdict = world.run()
    held = [sorted(size for _, size in _sizes(host.agent.engine, name, {{}}))
            for name, host in world.hosts.items() if host.agent is not None]
    story = repr((verdict, held, [(line.at, line.node, line.text) for line in world.story]))
    print(engine.__file__.endswith(".py"), hashlib.sha256(story.encode()).hexdigest())
"""


def main() -> None:
    """Compile, and compare. Exit status 1, with what the compiler said, if either fails."""
    start = time.monotonic()
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(ROOT / "hamgr", BUILD / "hamgr",
                    ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    done = subprocess.run([sys.executable, __file__, "build"], cwd=BUILD, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"cannot compile the engine and the simulator:\n{done.stdout}")
    if (source := _stories(ROOT, "True")) != (compiled := _stories(BUILD, "False")):
        sys.exit(f"compiled, seeds run otherwise:\n{compiled}for\n{source}")
    (BUILD / ".ready").touch()
    sys.stdout.write(f"compiled: {sum(map(len, GROUPS.values()))} modules in "
               f"{time.monotonic() - start:.0f} s; {SEEDS} seeds run as from the source\n")


def _build() -> None:
    """Compile in the working directory, which is a copy of the source."""
    from mypyc.build import mypycify
    from setuptools import setup

    groups: list[tuple[list[str], str | None]] = [
        ([f"hamgr/{name}.py" for name in names], library) for library, names in GROUPS.items()]
    modules = mypycify(
        ["--config-file", str(ROOT / "pyproject.toml"), *(file for files, _ in groups
                                                          for file in files)],
        opt_level="1", debug_level="0", multi_file=True, separate=groups)
    setup(name="hamgr-compiled", packages=[], ext_modules=modules,
          script_args=["build_ext", "--inplace", "-j", str(os.cpu_count() or 1)])


def _stories(root: Path, from_source: str) -> str:
    """Return a digest of the story of each seed; what runs must come from where it shall."""
    done = subprocess.run([sys.executable, "-P", "-c", STORIES], check=True, text=True,
                          stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)})
    rows = [line.split() for line in done.stdout.splitlines()]
    if {kind for kind, _ in rows} != {from_source}:
        sys.exit(f"{root} is not what ran")
    return "".join(f"{digest}\n" for _, digest in rows)


if __name__ == "__main__":
    if sys.argv[1:] == ["build"]:
        _build()
    else:
        main()
