"""The driver "systemd": a service whose actions are those of a systemd unit, over D-Bus.

`units` carries actions out and tells what changes, `watched` is what is known of one unit, `states`
puts systemd's states into words, `guard` keeps systemd from acting on its own, `manager` is
systemd as it is reached over the system bus, `bus` the connection.
"""

from hamgr.adapters.services.systemd.units import Units

__all__ = ["Units"]
