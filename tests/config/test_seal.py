"""A configuration in ZooKeeper counts only if somebody with the cluster's key has put it there."""

import pytest
from msgspec.structs import replace

from hamgr.config.seal import is_sealed, sealed
from hamgr.core.records import Config

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
CONFIG = sealed(Config(revision=2, document="[cluster]", digest="d", applied_by="root@n1"), KEY)


def test_the_seal_of_either_key_counts() -> None:
    """While a key is replaced, nodes have two."""
    assert is_sealed(CONFIG, [KEY]) and is_sealed(CONFIG, [OTHER_KEY, KEY])
    assert not is_sealed(CONFIG, [OTHER_KEY])


@pytest.mark.parametrize("changes", [
    {"document": "[cluster] "}, {"revision": 3}, {"digest": "e"}, {"applied_by": "root@n2"},
    {"seal": ""}, {"seal": "ü"}, {"seal": CONFIG.seal[:-1]}], ids=str)
def test_what_was_changed_since_does_not(changes: dict[str, object]) -> None:
    assert not is_sealed(replace(CONFIG, **changes), [KEY])
