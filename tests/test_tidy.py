"""The limits of the house (docs/design.md), kept by a test: sizes, bans, dead files, quoted rules.

What is over a limit today stands in a red zone with its size; a red zone may only shrink.
"""

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hamgr"
CORE, LEADER, ENGINE = PACKAGE / "core", PACKAGE / "leader", PACKAGE / "engine.py"
SIMULATION = PACKAGE / "simulation"

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 40
FUNCTION_LINES_HARD_MAX = 70
FUNCTION_LINES_MEDIAN_MAX = 10
CORE_LINES_MAX = 5_000
RULES = frozenset(range(1, 26))

FILES_RED: dict[str, int] = {}
FUNCTIONS_RED: dict[str, int] = {}

STARTED_BY_NAME = frozenset({"hamgr.__main__", "hamgr.simulation.__main__", "hamgr.deadman"})
"""Modules that nobody imports since Python, or a file path, starts them."""
CLOCKS_ALLOWED = frozenset({f"hamgr/simulation/{name}.py" for name in (
    "__main__", "main", "batch", "soak")})
"""Where the simulator tells people how fast it ran; nothing simulated sees that clock."""

TEXT_SUFFIXES = frozenset({".py", ".md", ".toml", ".sh", ".service", ".conf", ".txt", ".yml", ""})
UNWANTED = tuple(re.compile(pattern) for pattern in (
    r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bXX" r"X\b", r"\bHA" r"CK\b",
    r"(?<![\w.}])/wo" r"rk/", r"/op" r"t/pypi", r"(?<![\w.}])/ro" r"ot/", r"\.lib" r"rary/",
))
SETS = frozenset({"set", "frozenset", "AbstractSet", "MutableSet"})
SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
ORDERLESS = frozenset({"sorted", "any", "all", "sum", "min", "max", "len", "set", "frozenset"})


class Function(NamedTuple):
    """One function or method, as long as its text."""

    name: str
    lines: int


def modules(folder: Path = PACKAGE) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Function(f"{short(path)}:{node.name}", node.end_lineno - node.lineno + 1)


def over_limit(sizes: Iterable[tuple[str, int]], limit: int, red: dict[str, int]) -> list[str]:
    """Return what is over the limit and not in the red zone, or not of the size noted there."""
    over = {name: size for name, size in sizes if size > limit}
    new = [f"{name} has {size} lines, more than {red.get(name, limit)}"
           for name, size in over.items() if size > red.get(name, limit)]
    gone = [f"{name} is noted with {size} lines and has {over.get(name, 'few enough')}: note that"
            for name, size in red.items() if over.get(name, 0) < size]
    return new + gone


def clock_faults(tree: ast.Module) -> list[str]:
    """Return uses of clocks, sleeps and of the global random generator."""
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in {"time", "datetime", "random"}:
            faults += [f"from {node.module} import {alias.name}" for alias in node.names
                       if (node.module, alias.name) != ("random", "Random")]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            use = f"{node.value.id}.{node.attr}"
            if node.value.id in {"time", "datetime"} or use == "asyncio.sleep":
                faults.append(use)
            if node.value.id == "random" and node.attr != "Random":
                faults.append(use)
    return faults


def prints(tree: ast.Module) -> list[int]:
    return [node.lineno for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            and node.func.id == "print"]


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield every module that a file imports, or names in a string (the commands' lazy table)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition(":")[0]


class SetIteration(ast.NodeVisitor):
    """Finds loops over sets, as far as annotations, assignments and literals show them."""

    def __init__(self, attributes: frozenset[str]) -> None:
        self.attributes = attributes
        self.names: frozenset[str] = frozenset()
        self.lines: list[int] = []
        self.orderless: list[ast.AST] = []

    def is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name(id=name):
                return name in self.names
            case ast.Attribute(attr=name):
                return name in self.attributes
            case ast.Call(func=ast.Name(id=name)):
                return name in SETS
            case ast.Call(func=ast.Attribute(attr=method)):
                return method in SET_METHODS
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.Sub(), right=right):
                return any(self.is_set(side) or _is_keys(side) for side in (left, right))
        return False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self.names
        self.names = outer | set_names(node)
        self.generic_visit(node)
        self.names = outer

    def visit_For(self, node: ast.For) -> None:
        self.note(node.iter)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in ORDERLESS:
            self.orderless += node.args
        elif isinstance(node.func, ast.Name) and node.func.id in {"list", "tuple", "iter", "next"}:
            for argument in node.args:
                self.note(argument)
        self.generic_visit(node)

    def visit_comprehension_of(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        if node not in self.orderless:
            for generator in node.generators:
                self.note(generator.iter)
        self.generic_visit(node)

    visit_ListComp = visit_DictComp = visit_GeneratorExp = visit_comprehension_of

    def note(self, node: ast.expr) -> None:
        if self.is_set(node):
            self.lines.append(node.lineno)


def _is_keys(node: ast.expr) -> bool:
    return (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            and node.func.attr == "keys")


def annotated_set(annotation: ast.expr | None) -> bool:
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    return isinstance(annotation, ast.Name) and annotation.id in SETS


def set_names(function: ast.FunctionDef) -> frozenset[str]:
    """Return the parameters and local names of a function that hold sets."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    names = {argument.arg for argument in arguments if annotated_set(argument.annotation)}
    plain = SetIteration(frozenset())
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names |= {node.target.id} if annotated_set(node.annotation) else set()
        if isinstance(node, ast.Assign) and plain.is_set(node.value):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(names)


def set_attributes(trees: Iterable[ast.Module]) -> frozenset[str]:
    """Return every attribute and property of the core that is annotated as a set."""
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.AnnAssign) and annotated_set(node.annotation):
            match node.target:
                case ast.Attribute(attr=name) | ast.Name(id=name):
                    found.add(name)
        if (isinstance(node, ast.FunctionDef) and annotated_set(node.returns)
                and any(isinstance(mark, ast.Name) and mark.id == "property"
                        for mark in node.decorator_list)):
            found.add(node.name)
    return frozenset(found)


def set_loops(tree: ast.Module, attributes: frozenset[str] = frozenset()) -> list[int]:
    visitor = SetIteration(attributes)
    visitor.visit(tree)
    return visitor.lines


def quoted_rules(text: str) -> set[int]:
    """Return the numbers in "rule 7", "rules 10, 14 and 16 to 18" and the like."""
    found: set[int] = set()
    for listed in re.findall(r"\b[Rr]ules?\s+(\d+(?:(?:\s*,\s*|\s+and\s+|\s+to\s+)\d+)*)", text):
        for part in re.split(r"\s*,\s*|\s+and\s+", listed):
            ends = [int(number) for number in re.split(r"\s+to\s+", part)]
            found |= set(range(ends[0], ends[-1] + 1))
    return found


def texts() -> Iterator[Path]:
    folders = ("hamgr", "tests", "docs", "etc", "systemd", "vagrant", ".ci")
    inside = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    top = (ROOT / name for name in ("README.md", "Makefile", "pyproject.toml", ".gitignore"))
    for path in (*inside, *top):
        if path.is_file() and path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts:
            yield path


def unwanted(text: str) -> list[str]:
    return [match.group() for pattern in UNWANTED for match in pattern.finditer(text)]


def test_no_file_is_too_long() -> None:
    sizes = ((short(path), len(path.read_text().splitlines()))
             for path in (*modules(), *modules(ROOT / "tests")))
    assert over_limit(sizes, FILE_LINES_MAX, FILES_RED) == []


def test_no_function_is_too_long() -> None:
    sizes = [function for path in (*modules(), *modules(ROOT / "tests"))
             for function in functions(path)]
    assert over_limit(sizes, FUNCTION_LINES_MAX, FUNCTIONS_RED) == []
    assert [name for name, lines in FUNCTIONS_RED.items() if lines > FUNCTION_LINES_HARD_MAX] == []


def test_the_median_function_is_short() -> None:
    sizes = [function.lines for path in modules() for function in functions(path)]
    assert statistics.median(sizes) <= FUNCTION_LINES_MEDIAN_MAX


@pytest.mark.parametrize("package", [CORE, LEADER], ids=short)
def test_what_decides_stays_small(package: Path) -> None:
    assert sum(len(path.read_text().splitlines()) for path in modules(package)) <= CORE_LINES_MAX


def decisions() -> list[Path]:
    """Return every module that decides: pure, all of them."""
    return [*modules(CORE), *modules(LEADER), ENGINE]


@pytest.mark.parametrize("path", [*decisions(), *modules(SIMULATION)], ids=short)
def test_core_and_simulation_know_no_clock_and_no_chance(path: Path) -> None:
    if short(path) not in CLOCKS_ALLOWED:
        assert clock_faults(parse(path)) == []


def test_only_the_command_line_prints() -> None:
    quiet = (path for path in modules() if PACKAGE / "cli" not in path.parents)
    assert [(short(path), line) for path in quiet for line in prints(parse(path))] == []


def test_every_module_says_what_it_is() -> None:
    files = (*modules(), *modules(ROOT / "tests"))
    silent = [short(path) for path in files if path.stat().st_size and not
              ast.get_docstring(parse(path))]
    assert silent == []


def test_every_module_is_used() -> None:
    used = {name for path in modules() for name in imported(parse(path)) if name != dotted(path)}
    packages = {dotted(path) for path in modules() if path.name == "__init__.py"}
    needless = {dotted(path) for path in modules()} - used - packages
    assert needless - STARTED_BY_NAME == set()


def test_what_decides_never_loops_over_a_set() -> None:
    trees = {short(path): parse(path) for path in decisions()}
    attributes = set_attributes(trees.values())
    assert {name: lines for name, tree in trees.items()
            if (lines := set_loops(tree, attributes))} == {}


def test_nothing_is_left_undone_and_no_machine_is_named() -> None:
    found = {short(path): words for path in texts() if (words := unwanted(path.read_text()))}
    assert found == {}


@pytest.mark.parametrize("files", [
    decisions(), [*modules(SIMULATION), *modules(ROOT / "tests"),
                  *(ROOT / "tests").rglob("scripts/*.txt")],
], ids=["where it is kept", "where it is checked"])
def test_every_rule_is_quoted(files: list[Path]) -> None:
    quoted = {rule for path in files if path != Path(__file__)
              for rule in quoted_rules(path.read_text())}
    assert sorted(RULES - quoted) == []


def test_the_protocol_has_exactly_these_rules() -> None:
    numbers = re.findall(r"^(\d+)\. ", (ROOT / "docs/protocol.md").read_text(), re.MULTILINE)
    assert [int(number) for number in numbers] == sorted(RULES)


def test_imports_point_inward() -> None:
    # A process of its own: the linter configures logging anew, which turns off existing loggers.
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("check, planted", [
    (clock_faults, "import time\nnow = time.time()"),
    (clock_faults, "from time import monotonic_ns"),
    (clock_faults, "import datetime\nnow = datetime.datetime.now()"),
    (clock_faults, "async def f():\n    await asyncio.sleep(1)"),
    (clock_faults, "import random\nx = random.randint(1, 6)"),
    (prints, "print('here')"),
    (set_loops, "for node in {1, 2}:\n    pass"),
    (set_loops, "def f(nodes: frozenset[str]):\n    return [node for node in nodes]"),
    (set_loops, "def f(a, b):\n    both = set(a)\n    for node in both:\n        pass"),
    (set_loops, "def f(a, b):\n    return tuple(a.keys() & b.keys())"),
])
def test_what_is_planted_is_found(check: Callable[[ast.Module], list[object]],
                                  planted: str) -> None:
    assert check(ast.parse(planted)) != []


@pytest.mark.parametrize("check, fine", [
    (clock_faults, "from random import Random\ndice = Random('7/net')"),
    (clock_faults, "import random\ndice = random.Random('7/net')"),
    (set_loops, "def f(nodes: set[str]):\n    return sorted(node for node in nodes)"),
    (set_loops, "def f(nodes: set[str]):\n    return any(node for node in nodes)"),
    (set_loops, "def f(nodes: tuple[str, ...]):\n    return [node for node in nodes]"),
])
def test_what_is_fine_passes(check: Callable[[ast.Module], list[object]], fine: str) -> None:
    assert check(ast.parse(fine)) == []


def test_loops_over_set_attributes_are_found() -> None:
    kept = ast.parse("class A:\n    def __init__(self):\n        self.peers: set[str] = set()\n"
                     "    def f(self):\n        for peer in self.peers:\n            pass\n")
    assert set_loops(kept, set_attributes([kept])) == [5]


def test_a_red_zone_only_shrinks() -> None:
    red = {"old": 50, "mended": 45}
    assert over_limit([("fine", 40), ("old", 50), ("mended", 45)], 40, red) == []
    assert len(over_limit([("old", 51), ("mended", 45)], 40, red)) == 1
    assert len(over_limit([("old", 49), ("mended", 45)], 40, red)) == 1
    assert len(over_limit([("old", 50)], 40, red)) == 1
    assert len(over_limit([("new", 41), ("old", 50), ("mended", 45)], 40, red)) == 1


def test_rules_are_read_from_text() -> None:
    assert quoted_rules("Rules 10, 14 and 16 to 18; rule 3.") == {3, 10, 14, 16, 17, 18}


def test_unwanted_words_are_found() -> None:
    assert len(unwanted("# TO" "DO: see /wo" "rk/x")) == 2
