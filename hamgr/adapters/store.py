"""Implements the port Store: what a node keeps on its own disk, each thing in a file of its own.

Writes are atomic and durable: a new file is written and synchronised, renamed over the old one,
and the directory is synchronised (rename(2), fsync(2)). A file that cannot be read as what it
should be is refused, never guessed at: an incarnation that is given twice, or a maintenance that is
forgotten, would break what the protocol rests on.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from hamgr.core.types import Epoch, GroupName

T = TypeVar("T")


class StoreError(OSError):
    """The state directory cannot be used; the message names the path and the remedy."""


class Incarnation(Struct, frozen=True, forbid_unknown_fields=True):
    """incarnation.json: the last one that was given."""

    incarnation: int


class Facts(Struct, frozen=True, forbid_unknown_fields=True):
    """facts.json: which cluster's data was seen, and how new (rule 25)."""

    cluster_id: str
    revision: int


class InMaintenance(Struct, frozen=True, forbid_unknown_fields=True):
    """maintenance.json: the epoch in place of each group in maintenance here (rule 22)."""

    groups: dict[GroupName, Epoch]
    vips: dict[GroupName, tuple[str, ...]] = {}
    """Its addresses when the maintenance began; the configuration may be another by now."""
    boot: str = ""
    """The boot of the machine in which that was written last."""


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """configuration.json: the document that this node goes by, as it was applied."""

    revision: int
    document: str
    """The TOML text."""
    former: tuple[str, ...] = ()
    """Documents before it, as long as something that only they name may be left here."""


NOT_APPLIED = Configuration(0, "")


def this_boot() -> str:
    """Return the kernel's name of this boot of the machine; nothing if it does not tell.

    /proc/sys/kernel/random/boot_id: see random(4).
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def kept_configuration(state_dir: Path) -> Configuration:
    """Return what was kept there; of revision 0 if no document ever was. Raises StoreError."""
    return _read(state_dir / "configuration.json", Configuration, NOT_APPLIED)


class DirectoryStore:
    """The state directory of one agent."""

    def __init__(self, state_dir: Path,
                 vips: Mapping[GroupName, tuple[str, ...]] | None = None, *,
                 boot: str = "") -> None:
        """Make the directory (0700) if it is missing, and read what is there.

        vips: the addresses of each group, to be kept with its maintenance.
        boot: which boot of the machine this is (see `this_boot`).
        Raises StoreError if it cannot be had, or if a file in it is garbage.
        """
        self._dir, self._boot = state_dir, boot
        self._vips = vips or {}
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            state_dir.chmod(0o700)
        except OSError as error:
            raise StoreError(f"cannot have the state directory {state_dir}: {error.strerror}; "
                             f"mount its disk, make it the agent's own, or name another with "
                             f"--state-dir") from error
        self._facts = _read(self._dir / "facts.json", Facts, Facts("", 0))
        self._maintenance = _read(self._dir / "maintenance.json", InMaintenance, InMaintenance({}))
        _read(self._dir / "incarnation.json", Incarnation, Incarnation(0))
        self._configuration = kept_configuration(state_dir)

    def configure(self, vips: Mapping[GroupName, tuple[str, ...]]) -> None:
        """Keep these addresses with the maintenances that begin from now on."""
        self._vips = vips

    def configuration(self) -> Configuration:
        """Return what was kept; of revision 0 if no document was ever applied here."""
        return self._configuration

    def keep_configuration(self, kept: Configuration) -> None:
        """Keep it, on disk on return. Raises StoreError."""
        if kept != self._configuration:
            self._keep("configuration.json", kept)
            self._configuration = kept

    def next_incarnation(self, above: int) -> int:
        """Return a new incarnation, greater than any before and `above`, on disk already.

        Raises StoreError; then there is no incarnation to live in.
        """
        last = _read(self._dir / "incarnation.json", Incarnation, Incarnation(0))
        new = Incarnation(max(last.incarnation, above) + 1)
        self._keep("incarnation.json", new)
        return new.incarnation

    def facts(self) -> tuple[str, int]:
        """Return the cluster id and plan revision kept, or ("", 0)."""
        return self._facts.cluster_id, self._facts.revision

    def keep_facts(self, cluster_id: str, revision: int) -> None:
        """Keep them, atomically. Raises StoreError."""
        facts = Facts(cluster_id, revision)
        if facts != self._facts:
            self._keep("facts.json", facts)
            self._facts = facts

    def maintenance(self) -> Mapping[GroupName, Epoch]:
        """Return the groups that are in maintenance here, with the epoch that is in place."""
        return dict(self._maintenance.groups)

    @property
    def rebooted(self) -> bool:
        """Tell whether the machine was booted since a maintenance was kept: nothing runs on."""
        return self._maintenance.boot not in ("", self._boot)

    def keep_maintenance(self, group: GroupName, epoch: Epoch, on: bool) -> None:
        """Keep it, on disk on return. Raises StoreError."""
        groups, vips = dict(self._maintenance.groups), dict(self._maintenance.vips)
        if on:
            groups[group], vips[group] = epoch, self._vips.get(group, ())
        else:
            groups.pop(group, None)
            vips.pop(group, None)
        kept = InMaintenance(groups, vips, self._boot)
        if kept != self._maintenance:
            self._keep("maintenance.json", kept)
            self._maintenance = kept

    def kept_vips(self) -> Mapping[GroupName, tuple[str, ...]]:
        """Return the addresses that each group in maintenance here had when that began."""
        return {group: self._maintenance.vips.get(group, ()) for group in self._maintenance.groups}

    def _keep(self, name: str, value: Struct) -> None:
        path = self._dir / name
        try:
            self._write(path, msgspec.json.encode(value) + b"\n")
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; free its disk or give it "
                             f"to the agent's user") from error

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        new = path.with_name(path.name + ".new")
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _read(path: Path, kind: type[T], missing: T) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return missing
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path} is not what it should be ({error}); nothing is guessed: restore it from "
            f"a backup, or make sure that nothing of this cluster runs on this node and "
            f"remove it") from error
