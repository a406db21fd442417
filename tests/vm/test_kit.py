"""What is said where no virtual machine can be had: tests are skipped with these words."""

import pytest

from tests.vm import kit


def test_a_program_that_is_missing_is_named_by_its_package(monkeypatch) -> None:
    monkeypatch.setattr(kit, "PROGRAMS", {"sh": "dash", "no-such-emulator": "qemu-none"})
    with pytest.raises(kit.CannotBeHad, match="not installed: qemu-none$"):
        kit.kit()


def test_a_package_that_cannot_be_downloaded_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(kit, "CACHE", tmp_path)
    monkeypatch.setattr(kit, "KERNEL", "no-such-kernel")
    monkeypatch.setattr(kit, "PROGRAMS", {})
    with pytest.raises(kit.CannotBeHad, match="no-such-kernel"):
        kit.kit()
    assert list(tmp_path.iterdir()) == []
