"""Where an agent lives, and which document it begins with."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from hamgr.adapters.store import Configuration, kept_configuration
from hamgr.config.change import cannot_change, joined
from hamgr.config.document import Reading, parse, read
from hamgr.config.faults import ConfigError
from hamgr.config.schema import Document
from hamgr.core.types import NodeName

logger = logging.getLogger("hamgr.configuration")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an agent lives."""

    document: Document
    """The one that it begins with."""
    text: str
    """Of that document."""
    revision: int
    """As it was applied; 0: it is the file's."""
    former: tuple[Document, ...]
    """Documents before it of which something may be left here."""
    config: Path
    """The file on this node, which need not be what is applied."""
    node: NodeName
    run_dir: Path
    state_dir: Path

    @property
    def wide(self) -> Document:
        """The document, with all that may be left of former ones."""
        return reduce(joined, self.former, self.document)


def find(config: Path, find_self: Callable[[Document], NodeName], run_dir: Path,
         state_dir: Path, *, files: bool) -> Place:
    """Return the place, with the document that was applied here last, else the file's.

    The file's also if it says what no running cluster can take over: that is how such a change is
    made. `files`: look into those that the file names, too. Raises ConfigError if neither can be
    used, OSError if what was kept cannot be read.
    """
    kept, file = kept_configuration(state_dir), read(config, files=files)
    applied = parse(kept.document) if kept.revision else file
    document, text, revision = _chosen(config, file, applied, kept)
    left = (*kept.former, kept.document) if kept.revision and not revision else kept.former
    former = [parse(old).document for old in left]
    return Place(document=document, text=text, revision=revision,
                 former=tuple(old for old in former if old is not None),
                 config=config, node=find_self(document), run_dir=run_dir, state_dir=state_dir)


def _chosen(config: Path, file: Reading, applied: Reading,
            kept: Configuration) -> tuple[Document, str, int]:
    if not kept.revision or (applied.document is None and file.document is not None):
        if file.document is None:
            raise ConfigError(str(config), file.faults)
        for fault in applied.faults:
            logger.error("the applied configuration cannot be used, and the file is: %s",
                         fault.located("it"))
        return file.document, file.text, 0
    if applied.document is None:
        raise ConfigError("the applied configuration", applied.faults)
    for fault in file.faults:
        logger.error("%s; the applied configuration is used", fault.located(str(config)))
    if file.document is not None and (
            unlike := cannot_change(applied.document, file.document)):
        logger.warning("%s differs from the applied configuration in what no running cluster can "
                       "take over (%s), and is used", config,
                       ", ".join(fault.key for fault in unlike))
        return file.document, file.text, 0
    return applied.document, kept.document, kept.revision
