"""The document as plain tables, lists, text and numbers: for TOML, JSON, and the digest."""

import shlex
from typing import Any

from msgspec import Struct, structs

from hamgr.config.schema import Document, Near, Vip
from hamgr.config.values import Command, Plugs, Server, Span
from hamgr.core.spec import FORBIDDEN, MANDATORY


def plain(document: Document, *, defaults: bool) -> dict[str, Any]:
    """Return the document as it would be written, with every default in it or with none.

    The times that follow from others (lease, detection, claim) are filled in always.
    """
    tables = _plain(_with_times(document), defaults)
    assert isinstance(tables, dict), "a document is a table"
    return tables


def _with_times(document: Document) -> Document:
    times = document.timing
    beat = structs.replace(document.heartbeat, lease=Span(times.lease),
                           detection=Span(times.detection))
    session = structs.replace(document.zookeeper, claim=Span(times.claim))
    return structs.replace(document, heartbeat=beat, zookeeper=session)


def _plain(value: object, defaults: bool) -> Any:
    match value:
        case Server() | Span():
            return str(value)
        case Vip(interface=""):
            return str(value.address)
        case Near(score=score) if score >= MANDATORY:
            return value.group
        case Command() if len(value) == 1 and shlex.split(value[0]) == [value[0]]:
            return value[0]
        case Struct():
            return {info.encode_name: _plain(item, defaults) for info in structs.fields(value)
                    if (item := getattr(value, info.name)) is not None
                    and (defaults or item != _default(info))}
        case Plugs() if not any(value.values()):
            return [*value]
        case dict():
            return {key: _plain(item, defaults) for key, item in value.items()}
        case tuple():
            return [_plain(item, defaults) for item in value]
        case int() if value <= FORBIDDEN:
            return "never"
        case bool() | int() | str():
            return value
        case _:
            return str(value)  # an IP address


def _default(info: structs.FieldInfo) -> Any:
    return info.default_factory() if callable(info.default_factory) else info.default
