#!/usr/bin/python3 -IS
"""The dead-man's switch: a process of its own that withdraws addresses when the lease runs out.

It is the second of the four layers between an old owner and two owners: it covers an agent that
was killed, frozen or is deadlocked. So it shares nothing with the agent that could take both down:
another process (in a control group of its own under systemd), the standard library alone, memory
locked, a real-time priority above the agent's, everything it needs loaded beforehand.

How it is fed
    Standard input is one end of a SOCK_SEQPACKET pair. The first message brings two descriptors:
    a shared page and the agent's lock file. The page is an array of 64-bit words (DEADLINE, ACTING,
    then one word a group: armed or not); each is written by one side only and with one aligned
    8-byte store, which no reader can see half of. A new deadline therefore costs the agent one
    store and wakes nobody: the switch sleeps until the deadline it saw last, reads the word again,
    and sleeps on if it has moved. Only what must be seen earlier (arming, a deadline that is
    lowered) rings the socket as well. While nothing is armed it never wakes.

When it acts (every armed group, and no other)
    the deadline passes; or SIGTERM, SIGABRT or QUIT: at once. That the agent's end of the socket
    is closed (it died) changes nothing about the moment, but after it the switch exits: at once if
    nothing is armed. While the agent lives the switch goes on: as long as the deadline is past and
    a group is armed it acts again after a growing pause, since a process that wakes from SIGSTOP
    may still carry out a claim that it had begun.

What acting is
    The group's ready-made RTM_DELADDR messages are sent; then the kernel's own list is read, and
    what is still there, under whatever prefix or interface, is deleted as it was found and looked
    for again (rtnetlink(7)). "Withdrawn" is what that list says, not what an answer says.

The exit status is 0 if all that was armed is verified to be gone, 1 if not, 2 if it never started.

What it weighs
    All of it is locked, so all of it counts: 13.9 MiB with Debian's Python 3.11, 6.5 of them the
    interpreter's code. Compiling this file leaves 1 to 2 MiB of free memory behind, which malloc(3)
    can give back and Python's own allocator cannot, and which a locale would add 0.4 MiB to: hence
    ENVIRONMENT. OPTIONS isolate it as -I would, which would ignore that environment as well.
"""

import ctypes
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

PRIORITY = 41
"""SCHED_FIFO priority, above the agent's: of two that want to run, the one that withdraws goes."""

ENVIRONMENT = {"PYTHONMALLOC": "malloc", "LC_ALL": "C"}
"""The whole environment that it is started in."""
OPTIONS = ("-s", "-S", "-P")
"""Of Python: nothing is imported but the standard library."""

PAGE = 4096
DEADLINE = 0
"""Word: CLOCK_MONOTONIC nanoseconds, written by the agent. 0 is long past."""
ACTING = 1
"""Word: 1 while the switch withdraws; an agent that disarms meanwhile waits for 0."""
ARMED = 8
"""First of the words of the groups, one a slot: 1 is armed. Written by the agent."""
SLOTS = PAGE // 8 - ARMED

HELLO, LOAD, POKE, CONFIRM, QUIT = b"H", b"L", b"P", b"C", b"Q"
"""Messages of the agent. LOAD: LOAD_HEAD, name, netlink messages. CONFIRM: a serial in digits."""
LOAD_HEAD = struct.Struct("=cHH")
"""Kind, slot, length of the group's name."""
LARGEST = 64 * 1024
"""Bytes of the largest message: about 1,000 addresses in one group."""
SWITCH_BYTE = 1
"""The byte of the lock file that the switch locks while it lives; byte 0 is the agent's."""

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
LAST_TRY = 10.0
"""Seconds after which a switch without an agent gives up on an address that will not go."""
ROUNDS = 3

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLMSG_ERROR, NLMSG_DONE, NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 2, 3, 0x1, 0x300, 0x10
IFA_ADDRESS, IFA_LOCAL = 1, 2
SO_RCVBUFFORCE = 33
MCL_CURRENT, MCL_FUTURE = 1, 2
HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
BODY = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, interface index."""


def each_message(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Split a run of netlink messages into (type, flags, sequence, whole message)."""
    found = []
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            break
        found.append((kind, flags, sequence, data[at:at + length]))
        at += (length + 3) & ~3
    return found


def address_of(message: bytes) -> bytes:
    """Return the address that an RTM_NEWADDR or RTM_DELADDR message is about, b"" if none.

    IFA_LOCAL where there is one: on a link with a peer, IFA_ADDRESS is the other end.
    """
    found: dict[int, bytes] = {}
    at = HEADER.size + BODY.size
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            break
        found[kind] = message[at + 4:at + length]
        at += (length + 3) & ~3
    return found.get(IFA_LOCAL) or found.get(IFA_ADDRESS, b"")


def as_deletion(message: bytes) -> bytes:
    """Return the RTM_DELADDR request for the address that the message is about, padded.

    No acknowledgement is asked for: the list that is read afterwards says more.
    """
    length = HEADER.unpack_from(message)[0]
    head = HEADER.pack(length, RTM_DELADDR, NLM_F_REQUEST, 0, 0)
    return head + message[HEADER.size:length] + bytes(-length % 4)


class Kernel:
    """The addresses of this network namespace, through one rtnetlink socket opened beforehand."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.settimeout(0.5)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._sequence = 0

    def withdraw(self, deletions: bytes, addresses: set[bytes]) -> set[bytes]:
        """Delete the addresses; return those that are still there. Raises OSError."""
        found: list[bytes] = []
        if not addresses:
            return set()
        self._socket.send(deletions)
        for _ in range(ROUNDS):
            found = self._present(addresses)
            if not found:
                break
            self._socket.send(b"".join(map(as_deletion, found)))
        return {address_of(message) for message in found}

    def _present(self, addresses: set[bytes]) -> list[bytes]:
        """Return the kernel's messages about those of the addresses that it has now."""
        self._sequence += 1
        size = HEADER.size + BODY.size
        self._socket.send(HEADER.pack(size, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP,
                                      self._sequence, 0) + BODY.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        found: list[bytes] = []
        while True:
            for kind, flags, sequence, message in each_message(self._socket.recv(LARGEST)):
                if sequence != self._sequence:
                    continue
                if flags & NLM_F_DUMP_INTR or kind == NLMSG_ERROR:
                    raise OSError("the list of addresses could not be read whole")
                if kind == NLMSG_DONE:
                    return found
                if kind == RTM_NEWADDR and address_of(message) in addresses:
                    found.append(message)


class Switch:
    """Holds the deadline; withdraws every armed group's addresses when it passes."""

    def __init__(self, link: socket.socket, words: "memoryview[int]", kernel: Kernel) -> None:
        self._link = link
        self._words = words
        self._kernel = kernel
        self._groups: dict[int, tuple[str, bytes, set[bytes]]] = {}
        self._agent_lives = True
        self._ordered = False
        self._said: tuple[int, str] = (-1, "")
        self._bell, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(ring)

    def act_at_once(self, *_: object) -> None:
        """Withdraw what is armed without waiting for the deadline, then end (SIGTERM)."""
        self._ordered = True

    def run(self) -> int:
        """Guard until the agent is gone, or until told to end; return the exit status."""
        pause = FIRST_PAUSE
        give_up = 0
        while True:
            self._hear()
            late = time.monotonic_ns() - self._words[DEADLINE]
            due = bool(self._armed()) and (self._ordered or late >= 0)
            left = self._act() if due else ""
            ending = self._ordered or not self._agent_lives
            if ending and not left and (due or not self._armed()):
                return 0
            if ending and due:
                give_up = give_up or time.monotonic_ns() + int(LAST_TRY * 1e9)
                if time.monotonic_ns() >= give_up:
                    return 1
            self._sleep(pause if due else None)
            pause = min(2 * pause, LONGEST_PAUSE) if due else FIRST_PAUSE

    def tell(self, *fields: str) -> None:
        """Send a line of fields to the agent; when that cannot be, to standard error."""
        line = "\t".join(fields)
        try:
            self._link.send(line.encode())
        except OSError:
            _, writable, _ = select.select([], [2], [], 0)
            if writable:
                os.write(2, f"hamgr dead-man's switch: {' '.join(fields)}\n".encode())

    def _armed(self) -> list[int]:
        return [slot for slot in self._groups if self._words[ARMED + slot]]

    def _hear(self) -> None:
        """Take in everything that the agent has sent."""
        while self._agent_lives:
            try:
                message = self._link.recv(LARGEST)
            except BlockingIOError:
                return
            except ConnectionError:
                message = b""
            kind = message[:1]
            if kind == LOAD:
                self._load(message)
            elif kind == CONFIRM:
                self.tell("seen", message[1:].decode())
            elif kind == QUIT:
                self._ordered = True
            elif not kind:
                self._agent_lives = False

    def _load(self, message: bytes) -> None:
        _, slot, length = LOAD_HEAD.unpack_from(message)
        body = message[LOAD_HEAD.size:]
        messages = [whole for _, _, _, whole in each_message(body[length:])]
        self._groups[slot] = (body[:length].decode(), b"".join(map(as_deletion, messages)),
                              {address_of(whole) for whole in messages} - {b""})

    def _act(self) -> str:
        """Withdraw every armed group; return in words what is left, "" if nothing."""
        self._words[ACTING] = 1
        try:
            # An agent disarms in this order: own word, a system call, then ACTING. Here: ACTING,
            # a system call, then its word. So one of the two sees the other's store.
            self._hear()
            groups = [self._groups[slot] for slot in self._armed()]
            deadline = self._words[DEADLINE]
            left = self._withdraw(groups)
            done = time.monotonic_ns()
        finally:
            self._words[ACTING] = 0
        if groups and self._said != (deadline, left):
            self._said = (deadline, left)
            why = ("told to" if self._ordered else
                   "deadline" if self._agent_lives else "deadline, agent gone")
            self.tell("acted", ",".join(name for name, _, _ in groups), why,
                      f"{(done - deadline) / 1e6:+.2f} ms" if deadline else "long past",
                      left or "verified")
        return left

    def _withdraw(self, groups: list[tuple[str, bytes, set[bytes]]]) -> str:
        try:
            left = self._kernel.withdraw(b"".join(deletions for _, deletions, _ in groups),
                                         {a for _, _, addresses in groups for a in addresses})
        except OSError as error:
            return f"not verified: {error}"
        return "still there: " + ", ".join(map(_text, sorted(left))) if left else ""

    def _sleep(self, pause: float | None) -> None:
        """Sleep until the deadline (or for the pause), a message or a signal.

        A deadline that has moved is slept for again at once: what else changes comes as a message.
        """
        watched: list[socket.socket | int] = [self._bell]
        if self._agent_lives:
            watched.append(self._link)
        guards = pause is None and bool(self._armed())
        while True:
            if guards:
                ahead = self._words[DEADLINE] - time.monotonic_ns()
                pause = min(max(ahead, 0) / 1e9, 3600.0)
            ready, _, _ = select.select(watched, [], [], pause)
            if ready or not guards or time.monotonic_ns() >= self._words[DEADLINE]:
                break
        if self._bell in ready:
            os.read(self._bell, 64)


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def take_priority() -> str:
    """Ask for SCHED_FIFO; return what was got, in words.

    A finite RLIMIT_RTTIME would have the kernel kill a process that computes for long without a
    system call (getrlimit(2)): it is lifted, or else the priority is not taken.
    """
    try:
        resource.setrlimit(resource.RLIMIT_RTTIME, (resource.RLIM_INFINITY,) * 2)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except (OSError, ValueError) as error:
        return f"ordinary ({error})"
    return f"SCHED_FIFO {PRIORITY}"


def lock_memory() -> str:
    """Lock all pages, present and future, into memory (mlockall(2)); say in words if so."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.malloc_trim(0)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE):
        return f"not locked ({os.strerror(ctypes.get_errno())})"
    return "locked"


def begin(link: socket.socket) -> Switch:
    """Take over the page and the lock from the agent, prepare everything. Raises OSError."""
    link.settimeout(5)
    message, descriptors, _, _ = socket.recv_fds(link, 64, 2)
    if message != HELLO or len(descriptors) != 2:
        raise OSError("no greeting from an agent")
    page, lock = descriptors
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, SWITCH_BYTE)
    words = memoryview(mmap.mmap(page, PAGE)).cast("q")
    words[ACTING] = 0
    link.setblocking(False)
    return Switch(link, words, Kernel())


def main() -> int:
    """Run as the switch of the agent at the other end of standard input."""
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    link = socket.socket(fileno=0)
    try:
        switch = begin(link)
    except OSError as error:
        os.write(2, f"hamgr dead-man's switch: cannot start: {error}\n".encode())
        return 2
    for order in (signal.SIGTERM, signal.SIGABRT):
        signal.signal(order, switch.act_at_once)
    namespace = os.stat("/proc/self/ns/net").st_ino
    switch.tell("ready", str(os.getpid()), str(namespace), take_priority(), lock_memory())
    return switch.run()


if __name__ == "__main__":
    sys.exit(main())
