"""What a fence agent says of itself: its metadata, from XML text to typed structs.

Source: FenceAgentAPI of ClusterLabs' fence-agents, and what the 85 agents of Debian 12 that have
metadata really print. Many options have an older name as well: `obsoletes` on the newer one,
`deprecated` on the older one.
"""

import xml.etree.ElementTree as ElementTree
from xml.etree.ElementTree import Element

from msgspec import Struct

_ROOT = "resource-agent"


class MetadataError(ValueError):
    """The text is no metadata of a fence agent; says why."""


class Option(Struct, frozen=True, kw_only=True):
    """One option that an agent takes."""

    name: str
    obsoletes: str = ""
    """Its older name, which is still understood."""
    deprecated: bool = False
    required: bool = False
    default: str = ""
    choices: tuple[str, ...] = ()
    """Its possible values; empty: any."""
    about: str = ""


class Metadata(Struct, frozen=True, kw_only=True):
    """All that an agent says of itself."""

    name: str
    about: str = ""
    options: tuple[Option, ...] = ()
    actions: tuple[str, ...] = ()

    def option(self, name: str) -> Option | None:
        """Return the option of this name."""
        return next((one for one in self.options if one.name == name), None)


def parse(text: str) -> Metadata:
    """Return what metadata says, whatever is printed around it. Raises MetadataError."""
    begin, end = text.find(f"<{_ROOT}"), text.rfind(f"</{_ROOT}>")
    if begin < 0 or end < begin:
        raise MetadataError("it prints no metadata (no element resource-agent)")
    try:
        root = ElementTree.fromstring(text[begin:end] + f"</{_ROOT}>")
    except ElementTree.ParseError as error:
        raise MetadataError(f"its metadata is no XML: {error}") from error
    found = {one.name: one for one in map(_option, root.iterfind("parameters/parameter"))}
    return Metadata(
        name=root.get("name", ""), about=root.get("shortdesc", ""), options=tuple(found.values()),
        actions=tuple(dict.fromkeys(one.get("name", "") for one in
                                    root.iterfind("actions/action"))))


def _option(element: Element) -> Option:
    content = element.find("content")
    content = Element("content") if content is None else content
    about = element.find("shortdesc")
    return Option(
        name=element.get("name", ""), obsoletes=element.get("obsoletes", ""),
        deprecated=element.get("deprecated") == "1", required=element.get("required") == "1",
        default=content.get("default", ""),
        choices=tuple(one.get("value", "") for one in content.iterfind("option")),
        about="" if about is None else " ".join("".join(about.itertext()).split()))
