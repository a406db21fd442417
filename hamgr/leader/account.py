"""An account of a decision in words: the table of `hamgr explain`, the line of `hamgr why-not`."""

from hamgr.core.types import NodeName
from hamgr.leader.policy import MAINTAINED, Account, Candidate


def explain(account: Account) -> list[str]:
    """Return what becomes of a group and why, then a line for each node: score, parts, remark."""
    nodes = [candidate.node for candidate in account.candidates]
    width = max([len(node) for node in nodes], default=0)
    lines = [headline(account)]
    if account.spot.waits:
        lines.append(f"it is not started yet: {account.spot.waits}")
    lines += [_line(account, candidate, width) for candidate in account.candidates]
    if account.spot.heirs:
        lines.append(f"if {account.spot.node} dies: {_then(account.spot.heirs)}")
    return lines


def headline(account: Account) -> str:
    """Return what becomes of a group and why, in one line."""
    return f"{account.group} {_what(account)}: {_because(account)}"


def why_not(account: Account, node: NodeName) -> str:
    """Return the one reason why a group is not to be on a node, or why it is."""
    if node in account.spot.nodes:
        return f"it is: {headline(account)}"
    found = [candidate for candidate in account.candidates if candidate.node == node]
    reason = _against(account, found[0]) if found else "not among its nodes"
    return f"{account.group} is not to be on {node}: {reason}"


def _what(account: Account) -> str:
    holder, nodes = account.holder, account.spot.nodes
    if not nodes:
        return f"leaves {holder} and runs nowhere" if holder else "runs nowhere"
    bar = account.candidates[0].bar if account.candidates else None
    last = bar is not None and bar.last_resort and account.why != MAINTAINED
    resort = " as a last resort" if last else ""
    if account.everywhere:
        return f"runs on {', '.join(nodes)}{resort}"
    if holder == nodes[0]:
        return f"stays on {holder}{resort}"
    if holder:
        return f"moves from {holder} to {nodes[0]}{resort}"
    return f"goes to {nodes[0]}{resort}"


def _because(account: Account) -> str:
    holder, node = account.holder, account.spot.node
    if not node:
        return account.why or "no node can have it"
    if holder and holder != node:
        left = [candidate for candidate in account.candidates if candidate.node == holder]
        return f"{holder} " + (_left(account, left[0]) if left else "is not among its nodes")
    best = _best_lost(account)
    if best is not None:
        return f"{_would_score(account, best)}, but {best.lost}"
    return account.why


def _left(account: Account, holder: Candidate) -> str:
    if holder.bar is None and not holder.lost:
        return f"scores {holder.score}, and {account.spot.node} {account.candidates[0].score}"
    return f"is out ({holder.bar.why if holder.bar is not None else holder.lost})"


def _best_lost(account: Account) -> Candidate | None:
    """Return the node that would have won by its score alone, if one would have."""
    if account.holder != account.spot.node:
        return None
    better = [candidate for candidate in account.candidates
              if candidate.lost and candidate.score > account.candidates[0].score]
    return max(better, key=lambda one: one.score) if better else None


def _against(account: Account, candidate: Candidate) -> str:
    chosen = account.candidates[0]
    if candidate.bar is not None:
        last = candidate.bar.last_resort and account.spot.nodes
        return candidate.bar.why + (f"; only if no other node can have it, and {chosen.node} can"
                                    if last else "")
    if candidate.lost:
        if candidate.score > chosen.score:
            return f"{_would_score(account, candidate)}, but {candidate.lost}"
        runs = f"it runs on {chosen.node}, and " if chosen.node == account.holder else ""
        return runs + candidate.lost
    if candidate.score < chosen.score:
        return f"it scores {candidate.score}, and {chosen.node} {chosen.score}"
    better = "where it runs" if chosen.node == account.holder else "which comes first in its list"
    return f"it scores {candidate.score}, as {chosen.node} does, {better}"


def _would_score(account: Account, candidate: Candidate) -> str:
    return f"{candidate.node} would score {candidate.score} against {account.candidates[0].score}"


def _line(account: Account, candidate: Candidate, width: int) -> str:
    barred = candidate.bar is not None and not candidate.bar.last_resort
    score = "-" if barred else str(candidate.score)
    parts = "" if barred else ", ".join(f"{name} {value}" for name, value in candidate.parts)
    remark = candidate.bar.why if candidate.bar is not None else candidate.lost
    if candidate.bar is not None and candidate.bar.last_resort:
        remark += " (last resort)"
    mark = "*" if candidate.node in account.spot.nodes else " "
    text = "; ".join(part for part in (parts, remark) if part)
    return f"{mark} {candidate.node:{width}} {score:>7}  {text}".rstrip()


def _then(heirs: tuple[NodeName, ...]) -> str:
    return ", else ".join(heirs)
