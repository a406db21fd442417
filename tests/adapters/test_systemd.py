"""What the agent says to the service manager and the journal.

Here a socket of the test stands in for either (this machine may run neither); the real ones are in
test_systemd_unit.py.
"""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hamgr.adapters.systemd import JournalHandler, Notifier, StreamHandler, log_handler
from hamgr.agent.dispatch import report
from hamgr.core.effects import Report
from hamgr.core.reasons import Reason
from hamgr.core.types import SECOND

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.settimeout(5)
        made.bind(str(tmp_path / "socket"))
        yield made


@pytest.fixture
def logger():
    made = logging.getLogger("hamgr.engine")
    level, propagate = made.level, made.propagate
    made.setLevel(logging.INFO)
    made.propagate = False
    made.disabled = False  # a tool that configured logging in this process may have left it so
    yield made
    made.setLevel(level)
    made.propagate = propagate
    for handler in list(made.handlers):
        made.removeHandler(handler)
        handler.close()


def test_the_manager_hears_what_is_told(listener):
    environment = {"NOTIFY_SOCKET": listener.getsockname()}
    Notifier(environment).tell("READY=1\nSTATUS=standby for crm")
    assert listener.recv(1000) == b"READY=1\nSTATUS=standby for crm"


def test_an_abstract_socket_works_too():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0hamgr-test-{os.getpid()}")
        listener.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@hamgr-test-{os.getpid()}"}).tell("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_no_child_inherits_the_managers_socket(listener):
    program = ("import subprocess, sys; from hamgr.adapters.systemd import Notifier\n"
               "Notifier().tell('READY=1')\n"
               "subprocess.run(['env'], check=True)\n")
    seen = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True,
        env={"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "5000000",
             "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "KEPT": "1"}).stdout
    assert listener.recv(100) == b"READY=1"
    assert "KEPT=1" in seen
    assert "NOTIFY_SOCKET" not in seen
    assert "WATCHDOG" not in seen


def test_the_watchdog_is_ours_only_if_it_names_us():
    assert Notifier({"WATCHDOG_USEC": "5000000"}).watchdog == 5 * SECOND
    assert Notifier({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}).watchdog == 0
    assert Notifier({"WATCHDOG_USEC": "5000000",
                     "WATCHDOG_PID": str(os.getpid())}).watchdog == 5 * SECOND


def test_without_a_manager_nothing_happens():
    notifier = Notifier({})
    notifier.tell("READY=1")
    assert (notifier.watchdog, notifier.lost) == (0, 0)


def test_a_manager_that_does_not_read_or_is_gone_holds_nothing_up(listener):
    notifier = Notifier({"NOTIFY_SOCKET": listener.getsockname()})
    for _ in range(10_000):
        notifier.tell("WATCHDOG=1")
    assert notifier.lost > 0
    lost = notifier.lost
    os.unlink(listener.getsockname())
    notifier.tell("WATCHDOG=1")
    assert notifier.lost == lost + 1


def entry(listener) -> dict[bytes, bytes]:
    return dict(line.split(b"=", 1) for line in listener.recv(65536).splitlines())


def test_a_report_of_the_engine_becomes_fields_of_the_journal(listener, logger):
    logger.addHandler(JournalHandler(listener.getsockname()))
    report(Report(reason=Reason.STARTING, group="crm", node="n1",
                  facts={"epoch": 7, "why": "the holder is out"}))
    said = entry(listener)
    assert said[b"MESSAGE"] == b"crm: n1: starts under epoch 7: the holder is out"
    assert {name: value for name, value in said.items() if name.startswith(b"HAMGR_")} == {
        b"HAMGR_GROUP": b"crm", b"HAMGR_NODE": b"n1", b"HAMGR_REASON": b"STARTING",
        b"HAMGR_EPOCH": b"7", b"HAMGR_WHY": b"the holder is out"}
    assert (said[b"PRIORITY"], said[b"SYSLOG_IDENTIFIER"]) == (b"6", b"hamgr")


def test_what_does_not_apply_is_no_field(listener, logger):
    logger.addHandler(JournalHandler(listener.getsockname()))
    report(Report(reason=Reason.LAPSED, facts={"round": 2, "why": "no credits"}))
    said = entry(listener)
    assert b"HAMGR_GROUP" not in said
    assert said[b"PRIORITY"] == b"4"


def test_a_message_of_several_lines_stays_one_entry(listener, logger):
    logger.addHandler(JournalHandler(listener.getsockname()))
    logger.error("first\nPRIORITY=0")
    assert listener.recv(65536).startswith(
        b"MESSAGE\n" + len(b"first\nPRIORITY=0").to_bytes(8, "little") + b"first\nPRIORITY=0\n")


def test_a_journal_that_does_not_read_holds_nothing_up(listener, logger):
    handler = JournalHandler(listener.getsockname())
    logger.addHandler(handler)
    for _ in range(5_000):
        logger.info("x" * 200)
    assert handler.lost > 0


def test_a_message_that_is_far_too_long_is_cut(listener, logger):
    handler = JournalHandler(listener.getsockname())
    logger.addHandler(handler)
    logger.info("x" * 10_000_000)
    assert handler.lost == 0


def test_standard_error_that_nobody_reads_holds_nothing_up(logger):
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "w") as stream:
            handler = StreamHandler(stream)
            logger.addHandler(handler)
            for _ in range(5_000):
                logger.info("x" * 200)
            assert handler.lost > 0
        assert os.read(reader, 201) == b"x" * 200 + b"\n"
    finally:
        os.close(reader)


def test_the_journal_is_used_only_where_standard_error_leads_there(monkeypatch):
    here = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{here.st_dev}:{here.st_ino}")
    with_journal = log_handler()
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert isinstance(with_journal, JournalHandler)
    with_journal.close()
    assert isinstance(log_handler(), StreamHandler)
