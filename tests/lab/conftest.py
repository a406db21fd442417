"""What helpers of these tests assert is explained as it is in the tests themselves."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hamgr.lab.lab import Lab
    from tests.lab.scene import Scene

pytest.register_assert_rewrite("tests.lab.scene")


@pytest.fixture
def scene(lab: "Lab") -> "Iterator[Scene]":
    """The module's lab, ready for the next fault; everything is healed afterwards."""
    from tests.lab.scene import healed

    with healed(lab) as found:
        yield found
