"""What [zookeeper] says of TLS, user and protection: keys that fit, and files that can be used."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hamgr.config.document import digest, parse
from hamgr.config.faults import Fault
from hamgr.config.password import read_password
from hamgr.config.private import KeyFileError
from hamgr.lab import certificates
from tests.certificates import expired
from tests.config.files import GOOD, changed, faults, warnings

HEADER = "[heartbeat]\n"
"""What [zookeeper] is put before; line 6 is the first of it."""
ALL = ('ca_file = "/etc/hamgr/ca.pem"', 'cert_file = "/etc/hamgr/node.pem"',
       'key_file = "/etc/hamgr/node.key"', 'user = "hamgr"',
       'password_file = "/etc/hamgr/zookeeper.password"', "protect = true")
TLS, LOGIN = ALL[:3], ALL[3:5]


def section(*lines: str) -> tuple[str, str]:
    return HEADER, "\n".join(("[zookeeper]", *lines, HEADER))


def test_all_keys_together_are_right() -> None:
    assert (faults(section(*ALL)), warnings(section(*ALL))) == ([], [])
    credentials = [line.replace("/etc/hamgr/", "%d/") for line in ALL]
    assert (faults(section(*credentials)), warnings(section(*credentials))) == ([], [])


def test_a_file_without_these_keys_has_the_digest_that_it_had() -> None:
    old, new = parse(GOOD).document, parse(changed(section("protect = false"))).document
    assert old is not None and new is not None
    assert digest(old) == digest(new)


@pytest.mark.parametrize("lines, line, key, words", [
    (('ca_file = "ca.pem"',), 7, "ca_file", "is not a full path; write one that begins with /, or "
     "with %d/ for a credential"),
    ((TLS[0], 'cert_file = "%dnode.pem"', TLS[2]), 8, "cert_file", "is not a full path"),
    (("ca_file = 1",), 7, "ca_file", "1 is not text"),
    ((*TLS[:2], *LOGIN), 8, "cert_file", "has no effect without key_file; add it, or remove cert"),
    ((TLS[0], TLS[2], *LOGIN), 8, "key_file", "has no effect without cert_file; add it"),
    (TLS[1:], 7, "cert_file", "has no effect without ca_file, with which TLS begins; add it"),
    (TLS[1:], 8, "key_file", "has no effect without ca_file, with which TLS begins; add it"),
    ((TLS[0], LOGIN[0]), 8, "user", "has no effect without password_file; add it, or remove user"),
    ((TLS[0], LOGIN[1]), 8, "password_file", "has no effect without user; add it, or remove"),
    ((TLS[0], 'user = "a:b"', LOGIN[1]), 8, "user", '"a:b" cannot be a user of ZooKeeper; write'),
    ((*TLS, "protect = true"), 10, "protect", "has no effect without user, who alone may write"),
    (('protect = "yes"',), 7, "protect", "neither true nor false"),
    (('passwd = "secret"',), 7, "passwd", 'unknown key; did you mean "password_file"?'),
])
def test_keys_that_do_not_go_together_are_faults(
        lines: tuple[str, ...], line: int, key: str, words: str) -> None:
    found = [text for at, name, text in faults(section(*lines))
             if (at, name) == (line, f"zookeeper.{key}")]
    assert len(found) == 1 and words in found[0], faults(section(*lines))


def test_a_login_without_tls_is_warned_of() -> None:
    assert faults(section(*LOGIN)) == []
    [(line, key, text)] = warnings(section(*LOGIN))
    assert (line, key) == (7, "zookeeper.user")
    assert "without TLS" in text and "add ca_file" in text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All files as they must be."""
    certificates.make_ca(tmp_path)
    certificates.sign(tmp_path, "node")
    secret(tmp_path / "password", "0123456789abcdef\n")
    return tmp_path


def secret(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)


def looked_at(folder: Path, **files: Any) -> tuple[list[Fault], list[Fault]]:
    """Return faults and warnings of a configuration with files, as they are in the folder."""
    named = {"ca_file": "ca.pem", "cert_file": "node.pem", "key_file": "node.key",
             "password_file": "password", **files}
    lines = [f'{name} = "{folder / file}"' if "/" not in file else f'{name} = "{file}"'
             for name, file in named.items()]
    reading = parse(changed(section(*lines, 'user = "hamgr"')), files=True)
    return list(reading.faults), list(reading.warnings)


def test_right_files_are_no_fault_and_bad_ones_none_unless_they_are_looked_at(
        folder: Path) -> None:
    assert looked_at(folder)[0] == []
    nowhere = changed(section(*ALL))
    assert parse(nowhere).faults == ()
    assert [fault.key for fault in parse(nowhere, files=True).faults] == [
        f"zookeeper.{name}" for name in ("ca_file", "cert_file", "key_file", "password_file")]


def missing(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def mode(name: str, bits: int) -> Any:
    return lambda folder: (folder / name).chmod(bits)


def text(name: str, words: str) -> Any:
    return lambda folder: secret(folder / name, words)


def another_key(folder: Path) -> None:
    certificates.sign(folder, "other")
    (folder / "other.key").rename(folder / "node.key")


def locked_key(folder: Path) -> None:
    key = folder / "node.key"
    subprocess.run(["openssl", "pkcs8", "-topk8", "-in", key, "-passout", "pass:sesame",
                    "-out", folder / "locked"], check=True)
    secret(key, (folder / "locked").read_text())


@pytest.mark.parametrize("spoil, line, key, words", [
    (missing("ca.pem"), 7, "ca_file", "ca.pem: cannot be read: No such file or directory; copy the "
     "certificate of whoever signs the servers'"),
    (text("ca.pem", "junk"), 7, "ca_file", "ca.pem: holds no certificate; write a certificate in"),
    (text("ca.pem", ""), 7, "ca_file", "ca.pem: holds no certificate"),
    (missing("node.pem"), 8, "cert_file", "node.pem: cannot be read: No such file or directory; "
     "copy a certificate that the servers accept"),
    (text("node.pem", "junk"), 8, "cert_file", "node.pem: holds no certificate"),
    (text("node.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), 8,
     "cert_file", "node.pem: holds no certificate"),
    (missing("node.key"), 9, "key_file", "node.key: cannot be read: No such file or directory; "
     "openssl makes one"),
    (mode("node.key", 0o640), 9, "key_file", "others may read or change it (mode 0640); run chmod"),
    (text("node.key", "junk"), 9, "key_file", "holds no key that can be read without a passphrase"),
    (locked_key, 9, "key_file", "holds no key that can be read without a passphrase"),
    (another_key, 9, "key_file", "is not the key of the certificate in"),
    (missing("password"), 10, "password_file", "password: cannot be read: No such file or "
     "directory; make it with (umask 077; openssl rand -hex 24 >"),
    (mode("password", 0o604), 10, "password_file", "others may read or change it (mode 0604)"),
    (text("password", ""), 10, "password_file", "must be one line, the password and nothing else"),
    (text("password", "\nsecret\n"), 10, "password_file", "must be one line"),
    (text("password", "first\nsecond\n"), 10, "password_file", "must be one line"),
    (text("password", "naïveté-naïveté\n"), 10, "password_file", "servers read in different ways"),
    (text("password", 'say"please"twice\n'), 10, "password_file", "servers read in different ways"),
])
def test_a_file_that_cannot_be_used_is_a_fault_of_its_key(
        folder: Path, spoil: Any, line: int, key: str, words: str) -> None:
    spoil(folder)
    found, _ = looked_at(folder)
    assert [(fault.line, fault.key) for fault in found] == [(line, f"zookeeper.{key}")]
    assert words in found[0].text
    assert "naïveté" not in found[0].text and "please" not in found[0].text, "shows a secret"


def test_a_file_of_another_user_is_a_fault(folder: Path) -> None:
    os.chown(folder / "password", 65534, -1)
    found, _ = looked_at(folder)
    assert "belongs to user 65534; run chown root" in found[0].text


def test_who_is_not_root_is_told_to_be(folder: Path) -> None:
    folder.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(KeyFileError, match="password: only root may read it; run this as root"):
            read_password(folder / "password")
    finally:
        os.seteuid(0)


def test_a_certificate_that_has_expired_or_will_soon_is_a_warning(folder: Path) -> None:
    found, warned = looked_at(folder)
    assert found == []
    assert [warning.key for warning in warned] == ["zookeeper.ca_file", "zookeeper.cert_file"]
    assert all(": expires in 6 days, on 20" in warning.text for warning in warned)
    expired(folder, "late")
    found, warned = looked_at(folder, cert_file="late.pem", key_file="late.key")
    assert found == []
    assert [(warning.line, ": expired on 20" in warning.text) for warning in warned] == [
        (7, False), (8, True)]


def test_of_several_certificates_that_are_trusted_each_is_looked_at(folder: Path) -> None:
    expired(folder, "former")
    both = (folder / "ca.pem").read_text() + (folder / "former.pem").read_text()
    (folder / "both.pem").write_text(both)
    found, (coming, going, _own) = looked_at(folder, ca_file="both.pem")
    assert found == []
    assert "both.pem: certificate 1 of 2 expires in 6 days, on 20" in coming.text
    assert "both.pem: certificate 2 of 2 expired on 20" in going.text
    assert "or take it out if another one stands for it" in going.text


def test_a_short_password_is_a_warning(folder: Path) -> None:
    secret(folder / "password", "sesame\n")
    found, warned = looked_at(folder)
    assert found == []
    assert "a password of 6 characters can be guessed" in warned[-1].text
    assert "sesame" not in warned[-1].text


def test_a_credential_is_looked_for_where_systemd_puts_it(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert looked_at(folder, password_file="%d/password", key_file="%d/node.key")[0] == []
    assert read_password("%d/password") == "0123456789abcdef"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    found, _ = looked_at(folder, password_file="%d/password")
    assert found[0].key == "zookeeper.password_file"
    assert "$CREDENTIALS_DIRECTORY is not set here; systemd sets it where" in found[0].text


def test_a_password_may_end_without_a_newline(folder: Path) -> None:
    secret(folder / "password", "0123456789abcdef")
    assert read_password(folder / "password") == "0123456789abcdef"
    with pytest.raises(KeyFileError):
        read_password(folder / "none")
