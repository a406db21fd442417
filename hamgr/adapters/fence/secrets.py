"""The secrets of fence devices, read before they are needed: a disk may hang when a node dies."""

from collections.abc import Iterable, Mapping

from hamgr.adapters.fence.device import Device, Secret


class Secrets:
    """What was last read from each source. `read` blocks: never in the loop."""

    def __init__(self) -> None:
        self._known: Mapping[Secret, str] = {}

    def read(self, devices: Iterable[Device]) -> tuple[str, ...]:
        """Read those of all devices there are; return in words which cannot be used, and why.

        One that cannot be read any more stays as it was.
        """
        found: dict[Secret, str] = {}
        faults: list[str] = []
        for device in devices:
            for key, source in device.secrets.items():
                try:
                    found[source] = source()
                except OSError as error:
                    faults.append(f"fence device {device.name}: {key}: {error}")
                    if source in self._known:
                        found[source] = self._known[source]
        self._known = found
        return tuple(faults)

    def of(self, device: Device) -> dict[str, str] | None:
        """Return the secrets of a device by their keys; None if one is still to be read."""
        known = self._known
        found = {key: known.get(source) for key, source in device.secrets.items()}
        if None in found.values():
            return None
        return {key: secret for key, secret in found.items() if secret is not None}
