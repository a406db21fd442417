"""The key file: made whole or not at all, read only if private."""

import os
import stat
from pathlib import Path

import pytest

from hamgr.config.key import (
    KeyFileError,
    add_key,
    drop_other_key,
    new_key,
    read_keys,
    use_other_key,
)

ONE, TWO = "ab" * 32, "cd" * 64


def key_file(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    file = folder / "cluster.key"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return file


def test_a_new_key_can_be_read_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "cluster.key"
    new_key(file)
    (key,) = read_keys(file)
    assert len(key) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["cluster.key"], "nothing else is left"
    new_key(tmp_path / "other.key")
    assert read_keys(tmp_path / "other.key") != (key,)


def test_a_key_in_use_is_never_replaced(tmp_path: Path) -> None:
    file = key_file(tmp_path, ONE)
    with pytest.raises(KeyFileError, match="exists already"):
        new_key(file)
    assert file.read_text() == ONE
    assert os.listdir(tmp_path) == ["cluster.key"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="none/cluster.key: cannot be written: No such file"):
        new_key(tmp_path / "none" / "cluster.key")


def test_two_keys_the_first_signs(tmp_path: Path) -> None:
    file = key_file(tmp_path, f"# since spring\n{ONE}\n\n  {TWO.upper()}  \n")
    assert read_keys(file) == (b"\xab" * 32, b"\xcd" * 64)


@pytest.mark.parametrize(("text", "words"), [
    ("", "0 keys; one line of hex digits a key"),
    (f"{ONE}\n{TWO}\n{'ef' * 32}\n", "3 keys"),
    (f"{ONE}\n{ONE.upper()}\n", "both keys are the same"),
    ("ab" * 31, "a key of 31 bytes; it must have 32 to 64"),
    ("ab" * 65, "a key of 65 bytes"),
    ("correct horse battery staple", "not made of hex digits"),
    (b"\xff" * 32, "is not text"),
])
def test_keys_that_are_none_are_refused(tmp_path: Path, text: str | bytes, words: str) -> None:
    file = key_file(tmp_path, text)
    with pytest.raises(KeyFileError, match=words) as caught:
        read_keys(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert ONE not in str(caught.value), "a message never shows a key"


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o644, 0o660])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    file = key_file(tmp_path, ONE, mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600"):
        read_keys(file)


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    file = key_file(tmp_path, ONE)
    os.chown(file, 65534, -1)
    with pytest.raises(KeyFileError, match="belongs to user 65534; run chown root"):
        read_keys(file)


def test_what_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="hamgr config new-key"):
        read_keys(tmp_path / "none")
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_keys(tmp_path)
    with pytest.raises(KeyFileError, match="not a regular file"):
        read_keys("/dev/null")


def test_the_steps_of_a_rotation(tmp_path: Path) -> None:
    file = key_file(tmp_path, f"# since spring\n{ONE}\n")
    for step, keys, text in (
            (lambda: add_key(file, bytes.fromhex(TWO)), (ONE, TWO),
             f"# since spring\n{ONE}\n{TWO}\n"),
            (lambda: use_other_key(file), (TWO, ONE), f"{TWO}\n# since spring\n{ONE}\n"),
            (lambda: drop_other_key(file), (TWO,), f"{TWO}\n")):
        step()
        assert read_keys(file) == tuple(map(bytes.fromhex, keys))
        assert file.read_text() == text
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == ["cluster.key"], "nothing else is left"


@pytest.mark.parametrize(("text", "key", "words"), [
    (f"{ONE}\n{TWO}\n", "ef" * 32, "3 keys"), (ONE, ONE, "both keys are the same"),
    (ONE, "ab" * 31, "a key of 31 bytes"), ("nonsense", TWO, "not made of hex digits")])
def test_a_step_that_would_spoil_the_file_leaves_it_as_it_was(
        tmp_path: Path, text: str, key: str, words: str) -> None:
    file = key_file(tmp_path, text)
    with pytest.raises(KeyFileError, match=words):
        add_key(file, bytes.fromhex(key))
    assert file.read_text() == text
    assert os.listdir(tmp_path) == ["cluster.key"]


def test_a_file_is_replaced_whole_or_not_at_all(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file is there until a new one, complete and on disk, takes its place."""
    file = key_file(tmp_path, f"{ONE}\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="cannot be written: No space left on device"):
        add_key(file, bytes.fromhex(TWO))
    assert file.read_text() == f"{ONE}\n"
    assert os.listdir(tmp_path) == ["cluster.key"]


def test_a_link_to_the_key_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    file = key_file(tmp_path / "real", f"{ONE}\n")
    link = tmp_path / "cluster.key"
    link.symlink_to(file)
    add_key(link, bytes.fromhex(TWO))
    assert link.is_symlink() and len(read_keys(file)) == 2
