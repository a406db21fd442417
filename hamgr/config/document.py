"""Loading the configuration file, and what the rest of hamgr takes from it."""

import tomllib
from hashlib import blake2b
from pathlib import Path

import msgspec

from hamgr.config.check import check
from hamgr.config.check_access import check_files
from hamgr.config.check_fencing import check_secrets
from hamgr.config.convert import document_from
from hamgr.config.faults import ConfigError, Fault, Findings
from hamgr.config.lines import lines_of, syntax_fault
from hamgr.config.plain import plain
from hamgr.config.schema import Document
from hamgr.config.specs import device_spec, group_spec
from hamgr.core.spec import ClusterSpec, NodeSpec

DEFAULT_FILE = "/etc/hamgr/hamgr.toml"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What came of reading a file: the document if there is no fault, and all that was found."""

    document: Document | None
    text: str = ""
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()


def load(path: str | Path, *, files: bool = False) -> Document:
    """Return the document in a file. Raises ConfigError with every fault if there is any."""
    reading = read(path, files=files)
    if reading.document is None:
        raise ConfigError(str(path), reading.faults)
    return reading.document


def read(path: str | Path, *, files: bool = False) -> Reading:
    """Read and check a file. A file that cannot be read is a fault like any other.

    files: check those on this machine too that it names, but for the cluster's key.
    """
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        return _only(Fault(line=None, key="", text=f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        line = error.object[:error.start].count(b"\n") + 1
        return _only(Fault(line=line, key="", text="not valid TOML: this line is not UTF-8; save "
                           "the file in that encoding"))
    return parse(text, files=files)


def parse(text: str, *, files: bool = False) -> Reading:
    """Read and check the text of a file, whatever it is."""
    try:
        return _parsed(text, files)
    except RecursionError:
        return _only(Fault(line=None, key="", text="not valid TOML for hamgr: lists or tables lie "
                           "in each other far too deep; write them as docs/configuration.md has "
                           "them"))


def _parsed(text: str, files: bool) -> Reading:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _only(syntax_fault(text, error))
    except ValueError:  # int() refuses, and the parser lets that through
        return _only(Fault(line=None, key="", text="not valid TOML: a number has thousands of "
                           "digits; write text in quotes"))
    findings = Findings(lines_of(text))
    document = document_from(tree, findings)
    if document is not None:
        check(document, findings)
        if files and not findings.faults:
            check_files(document, findings)
            check_secrets(document, findings)
    return Reading(document=None if findings.faults else document, text=text,
                   faults=findings.faults, warnings=findings.warnings)


def cluster_spec(document: Document) -> ClusterSpec:
    """Return what decisions depend on, in plain numbers: records and heartbeats carry them."""
    return ClusterSpec(
        name=document.cluster.name,
        nodes=tuple(NodeSpec(name=name, voter=node.voter, witness=node.witness,
                             start_clean=node.start == "clean",
                             attributes=dict(node.attributes))
                    for name, node in document.node.items()),
        groups=tuple(group_spec(name, group) for name, group in document.group.items()),
        devices=tuple(device_spec(name, fence) for name, fence in document.fence.items()),
        fences_per_hour=document.fencing.max_per_hour,
        priority_delay=int(document.fencing.priority_delay),
        timing=document.timing,
    )


def digest(document: Document) -> str:
    """Return 16 hex digits that are equal for documents of one meaning.

    Comments, the order of tables and keys, and the spelling of values do not count, nor does it
    matter whether a default is written out: a later version that adds a key with a default agrees
    with this one during a rolling upgrade.
    """
    canonical = msgspec.json.encode(plain(document, defaults=False), order="deterministic")
    return blake2b(canonical, digest_size=8).hexdigest()


def _only(fault: Fault) -> Reading:
    return Reading(document=None, faults=(fault,))
