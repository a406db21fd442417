"""docs/configuration.md, etc/hamgr.toml and the schema say the same."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from msgspec import NODEFAULT, Struct, structs

from hamgr.config import schema
from hamgr.config.document import parse, read
from hamgr.config.values import Span

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/configuration.md").read_text()
SAMPLE = ROOT / "etc/hamgr.toml"

PLACES: dict[str, type[Struct]] = {
    "## `[cluster]`": schema.Cluster,
    "## `[heartbeat]`": schema.Heartbeat,
    "## `[zookeeper]`": schema.ZooKeeper,
    "## `[address]`": schema.AddressLife,
    "## `[watchdog]`": schema.Watchdog,
    "## `[node.NAME]`": schema.Node,
    "## `[fencing]`": schema.Fencing,
    "## `[fence.NAME]`": schema.Fence,
    "## `[group.NAME]`": schema.Group,
    "| key in `vips` |": schema.Vip,
    "| key in `with`": schema.Near,
    "## `[[group.NAME.service]]`": schema.Service,
    "| key in `monitor` |": schema.Monitor,
}


def rows(place: str) -> dict[str, str]:
    """The first table at or after a place: key to default."""
    _, found, after = REFERENCE.partition(place)
    assert found, f"{place} is missing"
    lines = (found + after).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("| key"))
    cells: dict[str, str] = {}
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            break
        key, _, default, _ = [cell.strip() for cell in line.strip("|").split("|")]
        cells[key.strip("`")] = default
    return cells


def written(default: Any) -> str:
    match default:
        case bool():
            return f"`{str(default).lower()}`"
        case Span() | str():
            return f'`"{default}"`'
        case ():
            return "`[]`"
        case _:
            return f"`{default}`"


@pytest.mark.parametrize("place", PLACES)
def test_reference_names_every_key_and_its_true_default(place: str) -> None:
    found = rows(place)
    fields = structs.fields(PLACES[place])
    assert list(found) == [info.encode_name for info in fields]
    for info in fields:
        if info.required:
            assert found[info.encode_name] == "required"
        elif info.default is None:
            assert "`" not in found[info.encode_name], "follows from others, or is none"
        else:
            default = info.default
            if default is NODEFAULT:
                assert callable(info.default_factory)
                default = info.default_factory()
            assert found[info.encode_name] == written(default)


def test_every_table_of_the_schema_has_a_place() -> None:
    tables = {each for each in vars(schema).values()
              if isinstance(each, type) and issubclass(each, Struct)
              and each.__module__ == schema.__name__}
    assert tables == {*PLACES.values(), schema.Document}
    assert set(get_type_hints(schema.Document)) == set(
        re.findall(r"## `\[+(\w+)", REFERENCE))


def test_sample_passes_without_a_warning() -> None:
    reading = read(SAMPLE)
    assert (reading.faults, reading.warnings) == ((), ())
    assert reading.document is not None


def test_what_the_sample_writes_out_are_the_defaults_where_it_says_so() -> None:
    tree = tomllib.loads(SAMPLE.read_text())
    assert tree["heartbeat"]["interval"] == str(schema.Heartbeat().interval)
    service = tree["group"]["crm"]["service"][0]
    defaults = {info.name: str(info.default) for info in structs.fields(schema.Service)}
    for key in ("promote_timeout", "demote_timeout", "restarts", "window"):
        assert str(service[key]) == defaults[key]


def test_the_transcript_in_the_reference_is_what_check_prints() -> None:
    text = SAMPLE.read_text().replace('interval = "100ms"\n',
                                      'interval = "100ms"\ndetection = "250ms"\n')
    text = text.replace('addresses = ["10.0.0.13"', 'adresses = ["10.0.0.13"')
    found = [fault.located("/etc/hamgr/hamgr.toml") for fault in parse(text).faults]
    assert len(found) == 2
    assert "\n".join(found) in REFERENCE
