"""What an OCF resource agent says of itself: its meta-data, from XML text to typed structs.

Sources: the OCF resource agent API 1.1 (ra-api.rng) and 1.0 (ra-api-1.dtd), and what the agents of
Debian 12 really print. Of 1.0 are understood: `unique` for `unique-group`, the roles Master and
Slave for Promoted and Unpromoted, `<version>` absent, times that are plain seconds.
"""

import re
import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import Element

from msgspec import Struct

from hamgr.core.types import MILLISECOND, SECOND, Duration

ROOT_TAG = "resource-agent"
PROMOTED, UNPROMOTED = "Promoted", "Unpromoted"
_ROLES = {"master": PROMOTED, "promoted": PROMOTED, "slave": UNPROMOTED, "unpromoted": UNPROMOTED}
_TRUE = frozenset({"1", "true", "yes", "on", "y"})
_TIME = re.compile(r"\s*(\d+)\s*([a-z]*)\s*")
_UNITS: dict[str, Duration] = {
    "": SECOND, "s": SECOND, "sec": SECOND, "ms": MILLISECOND, "msec": MILLISECOND,
    "m": 60 * SECOND, "min": 60 * SECOND, "h": 3600 * SECOND, "hr": 3600 * SECOND}


class MetadataError(ValueError):
    """The text is no meta-data of a resource agent; says why."""


class Parameter(Struct, frozen=True, kw_only=True):
    """One parameter that an agent takes, as OCF_RESKEY_name."""

    name: str
    type: str
    """string, integer, boolean, second or select, in small letters."""
    default: str | None = None
    """As the agent prints it, which may depend on the machine; None: it has none."""
    required: bool = False
    unique_group: str = ""
    """Services that share all values of a group cannot both run; empty: it is in none."""
    reloadable: bool = False
    deprecated: bool = False
    options: tuple[str, ...] = ()
    """select: the values that there are."""
    about: str = ""
    """In a few words."""
    explanation: str = ""


class Operation(Struct, frozen=True, kw_only=True):
    """One action that an agent offers, with what it advises for it."""

    name: str
    timeout: Duration = 0
    """At least; 0: it advises nothing."""
    interval: Duration = 0
    role: str = ""
    """Promoted, Unpromoted, or empty: whatever role it has."""
    depth: int = 0
    """OCF_CHECK_LEVEL of a monitor: how thorough it is."""


class Metadata(Struct, frozen=True, kw_only=True):
    """All that an agent says of itself."""

    name: str
    version: str = ""
    about: str = ""
    explanation: str = ""
    deprecated: bool = False
    parameters: tuple[Parameter, ...] = ()
    operations: tuple[Operation, ...] = ()

    @property
    def promotable(self) -> bool:
        """Whether it can have replicas of which some are promoted."""
        return self.offers("promote") and self.offers("demote")

    def offers(self, action: str) -> bool:
        """Whether it has this action."""
        return any(operation.name == action for operation in self.operations)

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of this name."""
        return next((one for one in self.parameters if one.name == name), None)

    def advised_timeout(self, action: str) -> Duration:
        """Return the longest timeout that it advises for an action; 0 if none."""
        return max((one.timeout for one in self.operations if one.name == action), default=0)


def parse(text: str) -> Metadata:
    """Return what meta-data says, whatever is printed around it. Raises MetadataError."""
    root = _root(text)
    if not (name := root.get("name", "").strip()):
        raise MetadataError("its meta-data names no agent")
    return Metadata(
        name=name, version=_version(root), about=_text(root, "shortdesc"),
        explanation=_text(root, "longdesc"), deprecated=root.find("deprecated") is not None,
        parameters=_parameters(root),
        operations=tuple(_operation(one) for one in root.iterfind("actions/action")
                         if one.get("name")))


def duration(text: str) -> Duration:
    """Return a time of meta-data: "20s", "20", "500ms", "2min"; 0 if it is none."""
    match = _TIME.fullmatch(text.lower())
    if match is None or match[2] not in _UNITS:
        return 0
    return int(match[1]) * _UNITS[match[2]]


def _root(text: str) -> Element:
    """Agents may print warnings before and after the document: only the document is read."""
    begin, end = text.find(f"<{ROOT_TAG}"), text.rfind(f"</{ROOT_TAG}>")
    if begin < 0 or end < begin:
        raise MetadataError("it prints no meta-data (no element resource-agent)")
    try:
        return ElementTree.fromstring(text[begin:end] + f"</{ROOT_TAG}>")
    except ElementTree.ParseError as error:
        raise MetadataError(f"its meta-data is no XML: {error}") from error


def _version(root: Element) -> str:
    """The agent's own version is an attribute in 1.0 and in 1.1; <version> is the API's in 1.1."""
    return root.get("version") or _text(root, "version")


def _text(element: Element, tag: str) -> str:
    """Return the text of a child, in English if there are several, on lines as it was written."""
    found = element.findall(tag)
    english = [one for one in found if one.get("lang", "en").lower().startswith("en")]
    return "".join((english or found)[0].itertext()).strip() if found else ""


def _parameters(root: Element) -> tuple[Parameter, ...]:
    """Of a name that is given twice, the first counts: that is what agents read."""
    found: dict[str, Parameter] = {}
    for element in root.iterfind("parameters/parameter"):
        if name := element.get("name", "").strip():
            found.setdefault(name, _parameter(name, element))
    return tuple(found.values())


def _parameter(name: str, element: Element) -> Parameter:
    content = element.find("content")
    content = Element("content") if content is None else content
    return Parameter(
        name=name, type=content.get("type", "string").strip().lower() or "string",
        default=content.get("default"), required=_true(element.get("required")),
        unique_group=_unique_group(name, element),
        reloadable=_true(element.get("reloadable")),
        deprecated=element.find("deprecated") is not None,
        options=tuple(one.get("value", "") for one in content.iterfind("option")),
        about=_text(element, "shortdesc"), explanation=_text(element, "longdesc"))


def _unique_group(name: str, element: Element) -> str:
    """`unique` of API 1.0 means a group of its own; there it also meant that it cannot reload."""
    return element.get("unique-group") or (name if _true(element.get("unique")) else "")


def _operation(element: Element) -> Operation:
    depth = element.get("depth", "0").strip()
    return Operation(
        name=element.get("name", "").strip(), timeout=duration(element.get("timeout", "")),
        interval=duration(element.get("interval", "")),
        role=_ROLES.get(element.get("role", "").strip().lower(), ""),
        depth=int(depth) if depth.isdecimal() else 0)


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in _TRUE
