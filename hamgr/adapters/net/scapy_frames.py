"""Child process: reads frame requests from standard input, writes the bytes that scapy builds.

Run as `python -m hamgr.adapters.net.scapy_frames`; input and output are JSON.
"""

import ipaddress
import json
import os
import sys


def frames(address: str, mac: str, router: bool) -> tuple[list[bytes], bytes]:
    """Build the announcements and the question for one VIP."""
    return _ndp(address, mac, router) if ":" in address else _arp(address, mac)


def _arp(address: str, mac: str) -> tuple[list[bytes], bytes]:
    from scapy.layers.l2 import ARP, Ether
    everyone = Ether(dst="ff:ff:ff:ff:ff:ff", src=mac)
    # Linux takes a reply for gratuitous only if its target hardware address is the sender's
    # (net/ipv4/arp.c, arp_is_garp); some switches and older hosts learn from replies alone.
    return [
        bytes(everyone / ARP(op="who-has", hwsrc=mac, psrc=address, pdst=address)),
        bytes(everyone / ARP(op="is-at", hwsrc=mac, psrc=address, hwdst=mac, pdst=address)),
    ], bytes(everyone / ARP(op="who-has", hwsrc=mac, psrc="0.0.0.0", pdst=address))


def _ndp(address: str, mac: str, router: bool) -> tuple[list[bytes], bytes]:
    from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
    from scapy.layers.l2 import Ether
    low = ipaddress.IPv6Address(address).packed[-3:]
    solicited = ipaddress.IPv6Address(ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13] + low)
    announcement = (
        Ether(dst="33:33:00:00:00:01", src=mac) / IPv6(src=address, dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(tgt=address, R=router, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac))
    question = (
        Ether(dst="33:33:ff:" + low.hex(":"), src=mac)
        / IPv6(src="::", dst=str(solicited), hlim=255) / ICMPv6ND_NS(tgt=address))
    return [bytes(announcement)], bytes(question)


def main() -> None:
    """Answer one list of requests."""
    # The agent may run with real-time priority; half a second of imports must not.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    built = (frames(*request) for request in json.load(sys.stdin))
    json.dump([([one.hex() for one in announcements], question.hex())
               for announcements, question in built], sys.stdout)


if __name__ == "__main__":
    main()
