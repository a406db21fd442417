"""What the runs reached: faults, reasons, incidents, and the functions that keep each rule.

A run in which nothing breaks proves nothing about what it never came to. Kinds of faults and
reasons are counted in every run; the rules only on demand, since counting calls costs time. Which
function keeps which rule is read from their own text, where every rule is quoted by number.
"""

import ast
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import hamgr
from hamgr.core.reasons import Reason
from hamgr.simulation.faults import KINDS
from hamgr.simulation.incidents import INCIDENTS

RULES = range(1, 26)
DECISIONS = ("core/*.py", "leader/*.py", "engine.py")
"""Files of the package that decide, as patterns."""
QUOTED = re.compile(r"\b[Rr]ules? (\d+(?:(?:, | and | to )\d+)*)")


class Place(NamedTuple):
    """A function, of those that decide, in which a rule is quoted."""

    module: str
    name: str
    """As Python qualifies it: `Seat.act`."""

    @property
    def label(self) -> str:
        """What it is called in the table."""
        return f"{self.module.rpartition('.')[2]}.{self.name.rpartition('.')[2]}"


def numbers(text: str) -> set[int]:
    """Return the rules that a text quotes: `rules 10 to 12 and 19` are 10, 11, 12 and 19."""
    found: set[int] = set()
    for quoted in QUOTED.findall(text):
        for part in re.split(r", | and ", quoted):
            first, _, last = part.partition(" to ")
            found.update(range(int(first), int(last or first) + 1))
    return found


def _pure() -> list[Path]:
    root = Path(hamgr.__path__[0])
    return sorted(path for pattern in DECISIONS for path in root.glob(pattern))


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(Path(hamgr.__path__[0]).parent).with_suffix("").parts)


def places() -> dict[int, list[Place]]:
    """Return, for every rule, the functions that quote it."""
    kept: dict[int, list[Place]] = {rule: [] for rule in RULES}
    for path in _pure():
        source = path.read_text()
        lines = source.splitlines()
        for name, node in _functions(ast.parse(source), ""):
            text = " ".join(line.strip(" #") for line in lines[node.lineno - 1:node.end_lineno])
            for rule in numbers(text):
                kept[rule].append(Place(_dotted(path), name))
    return kept


def count_rules(stack: ExitStack, reached: Counter[str]) -> None:
    """Count, until the stack ends, how often each function that keeps a rule is called.

    What answers yes or no, or something or nothing, is counted apart: `place` and `place yes`.
    """
    modules = [importlib.import_module(_dotted(path)) for path in _pure()]
    for place in {place for kept in places().values() for place in kept}:
        _count(stack, reached, place, modules)


def table(reached: Counter[str], runs: int) -> list[str]:
    """Return what was reached, and above all what was not, as lines."""
    lines = [f"reached in {runs} runs:"]
    for title, prefix, names in (("kinds of faults", "fault", sorted(KINDS)),
                                 ("incidents", "incident", sorted(INCIDENTS)),
                                 ("reasons", "reason", [reason.name for reason in Reason])):
        counts = {name: reached[f"{prefix} {name}"] for name in names}
        lines += ["", f"{title}: {sum(1 for count in counts.values() if count)} of {len(counts)}",
                  *_columns(counts)]
        never = [name for name, count in counts.items() if not count]
        lines += [f"  never: {', '.join(never)}"] if never else []
    if any(key.startswith("rule ") for key in reached):
        lines += ["", "rules: calls of the functions that quote them"]
        lines += [_rule(reached, rule, kept) for rule, kept in places().items() if kept]
    return lines


def _rule(reached: Counter[str], rule: int, kept: list[Place]) -> str:
    calls = {place.label: reached[f"rule {place.label}"] for place in kept}
    never = [label for label, count in calls.items() if not count]
    one_sided = [f"{label} ({'always' if reached[f'rule {label} yes'] else 'never'} true)"
                 for label, count in calls.items()
                 if count and f"rule {label} yes" in reached
                 and reached[f"rule {label} yes"] in (0, count)]
    words = f"  {rule:2}  {sum(calls.values()):12,} calls of {len(calls)} functions"
    words += f"; never called: {', '.join(never)}" if never else ""
    return words + (f"; {', '.join(one_sided)}" if one_sided else "")


def _columns(counts: dict[str, int], columns: int = 3) -> Iterator[str]:
    cells = [f"{name:26}{count:7,}" for name, count in counts.items() if count]
    for start in range(0, len(cells), columns):
        yield "  " + "   ".join(cells[start:start + columns])


def _functions(node: ast.AST, within: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield within + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{within}{child.name}.")


def _count(stack: ExitStack, reached: Counter[str], place: Place,
           modules: list[ModuleType]) -> None:
    owner: Any = importlib.import_module(place.module)
    *classes, name = place.name.split(".")
    for inner in classes:
        owner = getattr(owner, inner)
    found = inspect.getattr_static(owner, name)
    key = f"rule {place.label}"
    if isinstance(found, property):
        assert found.fget is not None
        stack.enter_context(patch.object(owner, name, property(_counted(reached, key, found.fget))))
    elif classes:
        assert isinstance(found, FunctionType), f"{place} is no plain method"
        stack.enter_context(patch.object(owner, name, _counted(reached, key, found)))
    else:
        counted = _counted(reached, key, found)
        for module in modules:
            for alias in [alias for alias, value in vars(module).items() if value is found]:
                stack.enter_context(patch.object(module, alias, counted))
            for table in [value for value in vars(module).values() if isinstance(value, dict)]:
                held = {key: counted for key, value in table.items() if value is found}
                stack.enter_context(patch.dict(table, held))


def _counted(reached: Counter[str], key: str, function: Callable[..., Any]) -> Callable[..., Any]:
    yes = f"{key} yes"
    decides = inspect.signature(function).return_annotation in (bool, str)
    if decides:
        reached[yes] += 0

    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        answer = function(*args, **kwargs)
        reached[key] += 1
        if decides and answer:
            reached[yes] += 1
        return answer
    return counted
