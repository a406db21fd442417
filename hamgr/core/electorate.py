"""Counting voters: majorities, and when a round is blocked (rules 9, 17, 23)."""

from collections.abc import Collection
from typing import NamedTuple

from hamgr.core.types import NodeName


class Electorate(NamedTuple):
    """The voters that count, and during a change of voters the former ones as well."""

    names: tuple[NodeName, ...]
    former: tuple[NodeName, ...] = ()

    @property
    def majority(self) -> int:
        """How many of the present voters are more than half."""
        return majority(self.names)

    def credits_needed(self, node: NodeName) -> int:
        """How many other voters must credit this node, so that it has a majority with itself."""
        return self.majority - (node in self.names)

    def is_majority(self, backers: Collection[NodeName]) -> bool:
        """Tell whether more than half of the present voters are among these."""
        return sum(voter in backers for voter in self.names) >= self.majority

    def blocks(self, node: NodeName, accusers: Collection[NodeName]) -> bool:
        """Tell whether these accusers leave no majority of credits to `node`.

        During a change of voters they must do so in the old and in the new set (rule 23).
        """
        sets = (self.names, self.former) if self.former else (self.names,)
        return all(_blocks(voters, node, accusers) for voters in sets)


def majority(voters: Collection[NodeName]) -> int:
    """How many of these voters are more than half."""
    return len(voters) // 2 + 1


def _blocks(voters: tuple[NodeName, ...], node: NodeName, accusers: Collection[NodeName]) -> bool:
    needed = len(voters) - majority(voters) + 1
    return sum(voter in accusers and voter != node for voter in voters) >= needed
