"""From parsed TOML to the schema's structs, noting every fault on the way instead of the first.

msgspec's own decoder stops at the first fault, and an operator should not learn of them one by
one. A value that cannot be used is rejected and stands as its default, or as an empty value, so
that the rest of the file can be checked all the same.
"""

import re
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo, fields

from hamgr.config import values
from hamgr.config.faults import Findings, Path, dotted, nearest
from hamgr.config.schema import Document, LinkName, Near, Preference, Vip
from hamgr.core.spec import FORBIDDEN, MANDATORY

REJECTED: Final = object()


def document_from(tree: dict[str, Any], findings: Findings) -> Document | None:
    """Build the document, as far as it can be read; None if not even that."""
    document = _convert(Document, tree, (), findings)
    return document if isinstance(document, Document) else None


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which n2 comes before n10."""
    return [(len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (0, part)
            for part in re.split(r"(\d+)", name) if part]


def _convert(kind: Any, raw: object, path: Path, findings: Findings) -> Any:
    kind, _ = _bare(kind)
    if kind in _LEAVES:
        return _leaf(_LEAVES[kind], raw, path, findings)
    if kind in _SHORT and not isinstance(raw, dict):
        leaf, key = _SHORT[kind]
        value = _convert(leaf, raw, path, findings)
        return value if value is REJECTED else kind(**{key: value})
    if get_origin(kind) is tuple:
        return _list(get_args(kind)[0], raw, path, findings)
    if not isinstance(raw, dict):
        findings.reject(path, f"must be a table; write {_as_table(path)}")
        return REJECTED
    if get_origin(kind) is dict:
        return _named(get_args(kind)[1], raw, path, findings)
    return _struct(kind, raw, path, findings)


def _leaf(parse: Callable[[object], Any], raw: object, path: Path, findings: Findings) -> Any:
    try:
        return parse(raw)
    except ValueError as error:
        findings.reject(path, str(error))
        return REJECTED


def _list(kind: Any, raw: object, path: Path, findings: Findings) -> Any:
    if not isinstance(raw, list):
        tables = _is_struct(kind) and kind not in _SHORT
        write = f"[[{dotted(path)}]], with two brackets" if tables else f"{path[-1]} = [...]"
        findings.reject(path, f"must be a list; write {write}")
        return REJECTED
    items = {at: _convert(kind, each, (*path, at), findings) for at, each in enumerate(raw)}
    kept = {at: item for at, item in items.items() if item is not REJECTED}
    findings.keep(path, kept)
    return tuple(kept.values())


def _named(kind: Any, raw: dict[str, Any], path: Path, findings: Findings) -> dict[str, Any]:
    items = {name: _convert(kind, raw[name], (*path, name), findings)
             for name in sorted(raw, key=natural)}
    return {name: item for name, item in items.items() if item is not REJECTED}


def _struct(kind: type[Struct], raw: dict[str, Any], path: Path, findings: Findings) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    raw = _known_keys(raw, [info.encode_name for info in fields(kind)], path, findings)
    given = {info.name: _field(info, hints[info.name], raw, path, findings)
             for info in fields(kind)}
    if REJECTED in given.values():
        return REJECTED
    return kind(**given)


def _field(info: FieldInfo, kind: Any, raw: dict[str, Any], path: Path, findings: Findings) -> Any:
    """Return the field's value, or what may stand for it while the rest is checked."""
    bare, example = _bare(kind)
    here = (*path, info.encode_name)
    if info.encode_name in raw:
        value = _convert(kind, raw[info.encode_name], here, findings)
    elif info.required and not _is_struct(bare):
        findings.reject(here, f"is missing; write {info.encode_name} = {example}")
        value = REJECTED
    elif info.required:
        value = _convert(kind, {}, here, findings)
    else:
        return _default(info)
    if value is not REJECTED:
        return value
    return _EMPTY.get(get_origin(bare) or bare, REJECTED) if info.required else _default(info)


def _default(info: FieldInfo) -> Any:
    return info.default if info.default is not NODEFAULT else info.default_factory()


def _known_keys(
    raw: dict[str, Any], known: list[str], path: Path, findings: Findings
) -> dict[str, Any]:
    """Reject unknown keys; a misspelt one stands for the key it is near, to be checked as that."""
    kept = {key: value for key, value in raw.items() if key in known}
    for key in [key for key in raw if key not in known]:
        meant = nearest(key, known)
        hint = f'did you mean "{meant}"?' if meant else f"known here: {', '.join(known)}"
        findings.reject((*path, key), f"unknown key; {hint}")
        if meant:
            kept.setdefault(meant, raw[key])
    return kept


def _bare(kind: Any) -> tuple[Any, str]:
    """Return a type without its annotation and without None, and the example it carries."""
    example = "..."
    if get_origin(kind) is Annotated and kind not in _LEAVES:
        kind, meta = get_args(kind)
        example = meta.examples[0] if isinstance(meta, Meta) and meta.examples else example
    if kind not in _LEAVES and NoneType in get_args(kind):
        kind = next(each for each in get_args(kind) if each is not NoneType)
    return kind, example


def _as_table(path: Path) -> str:
    """Return how a table at `path` is written: no header names an item of a list by number."""
    if isinstance(path[-1], int):
        return f"[[{dotted(path[:-1])}]] and its keys below it"
    if any(isinstance(step, int) for step in path):
        return f"{path[-1]} = {{ ... }} with its keys in it"
    return f"[{dotted(path)}] and its keys below it"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError(f'{raw!r} is not text; write it in quotes: "{raw}"')
    return raw


def _flag(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{raw!r} is neither true nor false; write one of them, without quotes")
    return raw


def _number(raw: object) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError(f"{raw!r} is not a whole number; write one, without quotes")
    return raw


def _preference(raw: object) -> int:
    if raw == "never":
        return FORBIDDEN
    if not isinstance(raw, int) or isinstance(raw, bool) or abs(raw) >= MANDATORY:
        raise ValueError(f'{raw!r} is no preference; write a whole number between -999999 and '
                         '999999, or "never"')
    return raw


_SHORT: dict[Any, tuple[Any, str]] = {Vip: (values.Interface, "address"), Near: (str, "group")}
"""Tables that may be written as one value: what that is, and the key that it stands for."""
_LEAVES: dict[Any, Callable[[object], Any]] = {
    str: _text,
    bool: _flag,
    int: _number,
    LinkName: values.parse_link,
    Preference: _preference,
    values.Span: values.Span.parse,
    values.LongSpan: values.LongSpan.parse,
    values.Plugs: values.Plugs.parse,
    values.Command: values.Command.parse,
    values.Server: values.Server.parse,
    values.Address: values.parse_address,
    values.Interface: values.parse_interface,
}
_EMPTY: dict[Any, Any] = {
    str: "", tuple: (), values.Command: values.Command(), values.Plugs: values.Plugs()}
