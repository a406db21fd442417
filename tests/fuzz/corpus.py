"""The kept corpus: one file a target, one input a line, in base64."""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).with_name("kept")


def load(target: str) -> list[bytes]:
    """Return the inputs that are kept for a target."""
    file = FOLDER / f"{target}.txt"
    return [b64decode(line) for line in file.read_text().split()] if file.exists() else []


def save(target: str, inputs: Iterable[bytes]) -> None:
    """Keep these instead."""
    lines = [b64encode(data).decode() + "\n" for data in inputs]
    (FOLDER / f"{target}.txt").write_text("".join(lines))
