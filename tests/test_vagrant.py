"""The three machines of vagrant/, as far as can be checked without starting them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hamgr.config.document import load

VAGRANT = Path(__file__).resolve().parent.parent / "vagrant"


def test_the_machines_are_the_nodes_of_the_configuration() -> None:
    document = load(VAGRANT / "hamgr.toml")
    machines = dict(re.findall(r'^ +"(n\d)" => \[(.*)\],$', (VAGRANT / "Vagrantfile").read_text(),
                               re.MULTILINE))
    assert {name: re.findall(r'"([\d.]+)"', addresses) for name, addresses in machines.items()} \
        == {name: [str(address) for address in node.addresses]
            for name, node in document.node.items()}


def test_the_provision_script_is_a_script() -> None:
    subprocess.run(["bash", "-n", VAGRANT / "provision.sh"], check=True)


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is not installed")
def test_vagrant_validates_it(tmp_path: Path) -> None:
    shutil.copytree(VAGRANT, tmp_path / "vagrant", ignore=shutil.ignore_patterns(".vagrant"))
    environment = {**os.environ, "VAGRANT_HOME": str(tmp_path / "home"),
                   "VAGRANT_CHECKPOINT_DISABLE": "1"}
    # No provider is installed where tests run, so the blocks of memory and processors stay unread.
    answer = subprocess.run(["vagrant", "validate", "--ignore-provider"], cwd=tmp_path / "vagrant",
                            env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "validated successfully" in answer.stdout
