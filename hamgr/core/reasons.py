"""Why: every change of state has one reason, and every reason one sentence."""

from enum import Enum


class Reason(str, Enum):
    """A kind of change; its value is the sentence, with the facts of the Report filled in."""

    CLAIMED = "claimed its seat in round {round}"
    BECAME_MEMBER = "lives on credits in round {round}"
    LAPSED = "lease ran out in round {round}: {why}"
    NEW_LIFE = "this incarnation is over: {why}"
    LEFT = "left the cluster: {why}"

    HEARD = "{peer} is heard (incarnation {incarnation})"
    ACCUSED = "accused {peer} (life {incarnation}.{round}): silent for {silence_ms} ms"
    ACCUSED_BY = "{peer} accuses {accused} (life {incarnation}.{round})"
    LOOP_LATE = "own loop was {late_ms} ms late"

    ZOOKEEPER_UP = "connected to ZooKeeper"
    ZOOKEEPER_DOWN = "lost ZooKeeper; nothing moves or stops for that alone"
    FOREIGN_DATA = "ZooKeeper's data is not this cluster's: {why}"
    CONFIGURED = "goes by configuration {digest} from now on"
    LEADING = "took the lead in term {term}: {why}"
    PLANNED = "plan {revision}: {why}"

    STARTING = "starts under epoch {epoch}: {why}"
    ACTIVE = "active under epoch {epoch}"
    STOPPING = "stops epoch {epoch}: {why}"
    STOPPED = "stopped epoch {epoch}, verified"
    STOP_FAILED = "could not stop {what}: {why}; not started elsewhere"
    START_FAILED = "could not start {what}: {why}"
    SERVICE_FAILED = "{what} failed: {why} (failure {count}; {limit} are mended here)"
    BLOCKED = "{what} is left as it is: it failed beyond its limit, and `hamgr clear` ends that"
    RESTS = "{what} is {state} here"
    INTRUDER = "{what} runs here without a right, and is stopped: {why}"
    RIVAL = "another machine answers for an address of ours: {why}"
    ADDRESS_RESTORED = "an address was removed by something else and put back: {why}"
    CONDITION_LOST = "cannot run here: {why}"
    CONDITION_BACK = "can run here again"
    RELEASED = "released of its own accord: {why}"
    WAITS_FOR_FENCE = "waits until {peer} is fenced"
    WAITS_FOR_WORD = "waits until somebody has seen to {peer}: no device can fence it, and \
`hamgr fence --confirm {peer}` says that it is down"
    FENCES = "fences {peer} by {devices}: {why}"
    FENCED = "{peer} is cut off: {devices} confirmed it"
    FENCE_FAILED = "fencing {peer} failed: {why}; its groups stay down"
    FENCE_CAPPED = "does not fence {peer}: {limit} nodes were fenced within an hour, which looks \
like a loop"
    NOT_SWITCHED_ON = "{device} did not switch {peer} on again: {why}"
    WAITS_STOP_WITHIN = "waits {wait_ms} ms until {peer} is certainly down"
    WAITS_FOR_GROUP = "waits before it starts here: {why}"
    MAINTENANCE_ON = "in maintenance: nothing moves, the switch is disarmed"
    MAINTENANCE_OFF = "out of maintenance: guarded again"
    SCARRED = "accused by {accusers}, but heard: ends its round and claims anew"

    def sentence(self, facts: dict[str, str | int]) -> str:
        """Return the reason in words; a fact that is missing stands there as a dash."""
        return self.value.format_map(_Dashes(facts))


class _Dashes(dict[str, str | int]):
    def __missing__(self, key: str) -> str:
        return "-"
