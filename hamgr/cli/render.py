"""A survey as text: pure functions. A width is columns of a terminal, None for no limit."""

from hamgr.cli.layout import fold, printable, table
from hamgr.cli.survey import GroupRow, LastWord, NodeRow, Survey, VipRow

NODE_HEAD = ("NODE", "STATE", "HEARD", "ROUND", "KEY", "ACTIVE FOR", "NOTE")
GROUP_HEAD = ("GROUP", "PLAN", "ACTIVE", "HEIR", "EPOCH", "ADDRESS", "KERNEL", "WIRE", "GUARDED BY")


def text(survey: Survey, width: int | None = None) -> str:
    """Return the survey as `hamgr status` prints it, ending with a newline."""
    parts = [_header(survey, width)]
    if survey.nodes:
        parts.append(table(NODE_HEAD, [_node(survey, node) for node in survey.nodes], width))
    if survey.groups:
        parts.append(table(GROUP_HEAD,
                           [row for group in survey.groups for row in _group(survey, group)],
                           width))
        parts.append("\n".join(fold(f"{group.name}: {_why(group)}", width)
                               for group in survey.groups))
    if survey.requests:
        parts.append(fold("asked for and not done yet: " + "; ".join(survey.requests), width))
    if survey.notes:
        parts.append("\n".join(fold(note, width) for note in survey.notes))
    if survey.last_words:
        first, *rest = [_last_word(word) for word in survey.last_words]
        parts.append("last words of the agent here, from the journal:\n"
                     + table(first, rest, width))
    parts.append(_verdict(survey, width))
    return printable("\n\n".join(parts) + "\n")


def span(seconds: float | None) -> str:
    """Return a length of time as people say it: 31 ms, 4.2 s, 12m05s, 3h07m, 2d04h."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    return f"{hours // 24}d{hours % 24:02}h"


def _header(survey: Survey, width: int | None) -> str:
    asked = fold(f"asked: {survey.asked}", width)
    if not survey.nodes:
        return f"cluster {survey.cluster or '(unknown)'}\n{asked}"
    leader = f"leader {survey.leader} (term {survey.term})" if survey.leader else "no leader"
    words = [f"cluster {survey.cluster}", leader, f"zookeeper {survey.zookeeper}"]
    if survey.source == "agent":
        more = f"{survey.survives} more node{'' if survey.survives == 1 else 's'}"
        slow = survey.survives == 0 and survey.voters == 2 and survey.voters_heard == 2
        words += [f"heartbeats {survey.voters_heard}/{survey.voters} voters",
                  "survives now: " + ("1 more node, by ZooKeeper alone (slow; a third voter makes "
                                      "it fast)" if slow else more)]
    # Folded between the facts, never within one.
    facts = fold("   ".join(word.replace(" ", "\xa0") for word in words), width)
    return facts.replace("\xa0", " ") + f"\n{asked}"


def _node(survey: Survey, node: NodeRow) -> tuple[str, ...]:
    active = [group.name for group in survey.groups if node.name in group.active]
    heard = None if node.heard_ms is None else node.heard_ms / 1000
    note = ", ".join(part for part in ("leads" if node.leads else "", node.note) if part)
    return (node.name, node.state, span(heard), str(node.round or "-"),
            " +".join(node.keys) or "-", ", ".join(active) or "-", note)


def _group(survey: Survey, group: GroupRow) -> list[tuple[str, ...]]:
    nobody = "?" if survey.source == "nothing" else "nowhere"
    plan = "everywhere" if group.everywhere else group.holder or nobody
    if group.everywhere and survey.source != "agent":
        nobody = "?"
    # Of the others, two are too many.
    active = (", " if group.everywhere else " and ").join(group.active)
    first = (group.name, plan, active or nobody,
             group.heir or "-", str(group.epoch or "-"))
    guard = ", ".join(group.guarded_by) or "-"
    if not group.vips:
        return [(*first, "-", "-", "-", guard)]
    rows: list[tuple[str, ...]] = []
    for number, vip in enumerate(group.vips):
        where = (vip.address, _kernel(survey, vip), _wire(vip))
        rows.append((*first, *where, guard) if number == 0 else ("",) * 5 + where + ("",))
    return rows


def _kernel(survey: Survey, vip: VipRow) -> str:
    if vip.kernel is None:
        return "?"
    return f"on {survey.node}" if vip.kernel else f"not on {survey.node}"


def _wire(vip: VipRow) -> str:
    if not vip.wire.asked:
        return "-"
    heard = dict.fromkeys(one.node or one.mac for one in vip.wire.answers)
    # The owner does not hear itself: on its wire, silence is as it should be.
    return " and ".join(heard) or ("no rival" if vip.kernel else "no answer")


def _why(group: GroupRow) -> str:
    here = f", for {span(group.active_for_s)}" if group.active_for_s is not None else ""
    state = ("in maintenance" if group.maintenance == "on" else
             f"maintenance {group.maintenance}" if group.maintenance != "off" else
             "being handed over" if group.handover else "")
    if "maintenance" in group.why:
        state = ""  # the plan says it already
    return "; ".join(part for part in (state, (group.why or "-") + here) if part)


def _last_word(word: LastWord) -> tuple[str, ...]:
    line = word.text.partition("\n")[0]
    plain = "".join(char if char.isprintable() else " " for char in line)
    return ("  " + word.time, word.level or "-", word.by, plain)


def _verdict(survey: Survey, width: int | None) -> str:
    if not survey.problems:
        return survey.verdict
    return "\n".join([f"{survey.verdict}:", *(
        fold(f"  {problem.text}", width, "    ") for problem in survey.problems)])
