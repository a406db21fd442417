"""The seal of an applied configuration: whoever wrote it has a key of the cluster.

A configuration names commands that agents run as root, and is taken over from a record in ZooKeeper
that anybody who reaches the ensemble can write, unless access lists forbid it. So a record counts
only with a MAC by a key that this node has, too (BLAKE2b in its keyed mode, RFC 7693, section 2.9).
Its revision is under the seal: an earlier document cannot be passed off as a later one.
"""

import hmac
from collections.abc import Iterable
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from hamgr.core.records import Config

UNSEALED = ("it is not sealed with a key that this node has, so anybody may have written it: run "
            "hamgr config apply on a node that has the cluster's key")
_SIZE = 16


def sealed(config: Config, key: bytes) -> Config:
    """Return the record with its seal."""
    return replace(config, seal=_seal(config, key))


def is_sealed(config: Config, keys: Iterable[bytes]) -> bool:
    """Tell whether the record has the seal of one of these keys."""
    return any(hmac.compare_digest(config.seal.encode(), _seal(config, key).encode())
               for key in keys)


def _seal(config: Config, key: bytes) -> str:
    derived = blake2b(key, digest_size=32, person=b"hamgr-seal").digest()
    said = msgspec.json.encode((config.revision, config.document, config.digest,
                                config.applied_by))
    return blake2b(said, key=derived, digest_size=_SIZE, person=b"hamgr-config").hexdigest()
