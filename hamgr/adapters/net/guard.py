"""Stands by the addresses that are held: puts back what is removed, answers who else claims them.
"""

import logging
from collections.abc import Callable

from hamgr.adapters.net.kernel import Kernel
from hamgr.adapters.net.lan import Lan
from hamgr.adapters.net.pace import Paced
from hamgr.adapters.net.vip import Vip
from hamgr.core.events import AddressesDisturbed
from hamgr.core.types import GroupName
from hamgr.ports import Post

logger = logging.getLogger(__name__)

ANSWER_S = 0.25
"""At most so often is a rival answered with an announcement."""
REPORT_S = 5.0
"""At most so often is the same rival reported."""
RESTORE_S = 0.1
"""At most so often is the same address put back: a program that removes it for ever must not keep
this one busy."""


class Guard:
    """Acts for a VIP only while `holder` names a group that holds it, and may go on to."""

    def __init__(self, kernel: Kernel, lan: Lan, post: Post,
                 holder: Callable[[Vip], GroupName | None]) -> None:
        self._kernel, self._lan, self._post, self._holder = kernel, lan, post, holder
        self._answer = Paced(self._answer_now, ANSWER_S)
        self._report = Paced(self._report_now, REPORT_S)
        self._restore = Paced(self._restore_now, RESTORE_S)

    def rival(self, vip: Vip, mac: bytes) -> None:
        """Somebody of this MAC speaks as the owner of the VIP.

        The last to speak has the clients, so a rival is always answered, also if it is one that
        has just lost the address and does not know it yet. Who holds nothing has no rival: the
        lawful holder speaks so too.
        """
        if self._holder(vip) is None:
            return
        self._answer(vip)
        self._report((vip, mac))

    def removed(self, vip: Vip) -> None:
        """The VIP may be gone from the kernel: see, and put it back."""
        if self._holder(vip) is not None:
            self._restore(vip)

    def close(self) -> None:
        """Do no more."""
        for paced in (self._answer, self._report, self._restore):
            paced.close()

    def _answer_now(self, vip: Vip) -> None:
        if self._holder(vip) is not None:
            self._lan.announce(vip)

    def _report_now(self, rival: tuple[Vip, bytes]) -> None:
        vip, mac = rival
        group = self._holder(vip)
        if group is not None:
            self._post(AddressesDisturbed(group=group, what="rival",
                                          detail=f"{mac.hex(':')} answers for {vip.address}"))

    def _restore_now(self, vip: Vip) -> None:
        group = self._holder(vip)
        if group is None:
            return
        try:
            was_missing = self._kernel.restore(vip)
        except OSError as error:
            logger.error("%s was removed and cannot be put back: %s", vip.address, error.strerror)
            return
        if self._holder(vip) is None:
            # Frozen between the look at the lease and the kernel's work: it came too late.
            left = self._kernel.remove([vip], reset=False)
            logger.error("%s was put back too late, and is removed%s", vip.address,
                         f": {left}" if left else "")
        elif was_missing:
            self._lan.announce(vip)
            self._post(AddressesDisturbed(group=group, what="removed", detail=vip.address))
