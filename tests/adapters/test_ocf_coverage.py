"""Everything that the agents of Debian call of Pacemaker, held against what the shims serve."""

import re
from pathlib import Path

import pytest

from hamgr.adapters.services.ocf import LocalAttributes, answers
from hamgr.adapters.services.ocf.agent import OCF_ROOT
from hamgr.adapters.services.ocf.answers import Desk
from hamgr.adapters.services.ocf.peers import alone

pytestmark = pytest.mark.real

ATTRIBUTE, MON = answers.ATTRIBUTE, answers.MON
SERVED = {
    "crm_attribute": ATTRIBUTE, "crm_master": ATTRIBUTE, "ocf_promotion_score": ATTRIBUTE,
    "CRM_ATTR": ATTRIBUTE, "CRM_ATTR_REBOOT": ATTRIBUTE, "CRM_ATTR_FOREVER": ATTRIBUTE,
    "CRM_ATTR_REPL_INFO": ATTRIBUTE, "MASTER_SCORE_ATTRIBUTE": ATTRIBUTE,
    "PENDING_ATTRIBUTE": ATTRIBUTE, "attrd_updater": answers.UPDATER, "crm_mon": MON,
    "crm_mon_no_validation": MON, "crm_node": answers.NODE, "CRM_NODE": answers.NODE,
    "crm_resource": answers.RESOURCE, "CRM_RESOURCE": answers.RESOURCE,
    "cibadmin": answers.CIBADMIN}
"""By how agents call them: functions of ocf-shellfuncs and shell variables are spellings, too."""
NOT_SERVED = {
    "ClusterMon": {"-d", "-h", "-i", "-p"},  # crm_mon as a daemon that writes HTML
    "VirtualDomain": {"-g", "-p", "-v", "-z", "--utilization", "--delete-parameter"},
    "Xen": {"-g", "-p", "-v", "-z"},  # utilization, of which both only log that it failed
}
CALL = re.compile(rf"(?<![\w-])({'|'.join(SERVED)})[}}\"]*"
                  r"((?:[ \t]+(?:\"[^\"]*\"|'[^']*'|[^\s|;&`)\"']+))*)")
OPTION = re.compile(r"(?<=\s)--?[A-Za-z1][\w-]*")
PAGE = Path(__file__).parents[2] / "docs" / "services" / "ocf.md"


def scripts() -> list[Path]:
    folders = (OCF_ROOT / "resource.d" / "heartbeat", OCF_ROOT / "resource.d" / "pacemaker",
               OCF_ROOT / "lib" / "heartbeat")
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]


def unserved(script: str) -> set[str]:
    """Return the options in the calls of a script that no shim knows."""
    lines = script.replace("\\\n", " ").splitlines()
    calls = [match for line in lines if not line.lstrip().startswith("#")
             for match in CALL.finditer(line)]
    return {option for call in calls for option in OPTION.findall(call[2])
            if (option[2:] if option.startswith("--") else option[1]) not in SERVED[call[1]]}


def test_every_option_that_agents_pass_is_served_but_these() -> None:
    found: dict[str, set[str]] = {}
    for path in scripts():
        if options := unserved(path.read_text(errors="replace")):
            found[path.name] = found.get(path.name, set()) | options
    assert found == NOT_SERVED


def test_an_option_that_is_not_served_is_seen() -> None:
    assert unserved('x=$("${HA_SBIN_DIR}/crm_node" --peers -n "a b" -Z)') == {"--peers", "-Z"}


def test_every_command_is_explained() -> None:
    desk = Desk("n1", LocalAttributes(), lambda: alone("n1"), dict)
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines()
            if line.startswith("| `")]
    told = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert set(desk.commands) <= told
