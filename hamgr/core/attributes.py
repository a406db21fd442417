"""What a node's attributes say for and against it: gates of groups, and its health.

An attribute whose name begins with `#health` is a judgement of health, as in Pacemaker (Pacemaker
Explained, "Tracking Node Health"): red keeps all groups away, a number is added to every score.
"""

from collections.abc import Callable, Mapping

HEALTH = "#health"
RED = "red"
COLOURS = (RED, "yellow", "green")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda is_, wants: is_ >= wants, "<=": lambda is_, wants: is_ <= wants,
    ">": lambda is_, wants: is_ > wants, "<": lambda is_, wants: is_ < wants}


def lacking(needs: Mapping[str, str], attributes: Mapping[str, str]) -> str:
    """Say what of the needs of a group a node does not have, or nothing.

    A need is a text that the attribute must be, or `!=` and one that it must not be, or `>=`, `<=`,
    `>` or `<` and a number.
    """
    for name, need in needs.items():
        value = attributes.get(name)
        if not _meets(value, need):
            shown = "not set" if value is None else value
            return f"attribute {name} is {shown}, and has to be {need}"
    return ""


def _meets(value: str | None, need: str) -> bool:
    if need.startswith("!="):
        return value != need[2:].strip()
    for sign, compares in _COMPARE.items():
        if need.startswith(sign):
            is_, wants = number(value or ""), number(need[len(sign):])
            return is_ is not None and wants is not None and compares(is_, wants)
    return value == need


def number(text: str) -> float | None:
    """Return the number that a text is, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def illness(attributes: Mapping[str, str]) -> str:
    """Say which judgement of health is red, or nothing."""
    return next((f"{name} is red" for name, value in attributes.items()
                 if name.startswith(HEALTH) and value == RED), "")


def health(attributes: Mapping[str, str]) -> int:
    """Return what a node's health adds to its score for every group."""
    found = [number(value) for name, value in attributes.items() if name.startswith(HEALTH)]
    return sum(int(one) for one in found if one is not None)
