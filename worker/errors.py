"""What can go wrong, as instructions.

    RelayError
    ├── ConfigurationError      the operator's file is wrong: every mistake with its place
    ├── StoreError              Redis could not do it; nothing is lost, repeat later
    │   ├── StoreUnavailable        away, restarting, or a replica
    │   └── StoreFull               at its memory limit, or a destination at `max_waiting`
    ├── LeaseLost               somebody else has the lane now: stop, change nothing
    └── DeliveryError           what a conversation orders for its batch
        ├── TryLater                hold the lane (after an unknown outcome: at least `settle_seconds`)
        │   ├── Throttled                   hold everything of the credential
        │   └── (two of `worker.isolation`)  nothing is taken, or too many are refused: hold, and read another head
        ├── NotYet                  no fault: our own side has to wait (a permit, a token under renewal)
        ├── NeedsPerson             hold the destination (or the lane) until somebody has acted
        ├── TooLarge                send a shorter head, and remember the size
        └── Refused                 the vendor will never take this content: isolate and bury it

Outcomes of single changes are values in a `Receipt`, never exceptions. No text of these errors holds an
identifier or a secret.
"""

from collections.abc import Callable
from typing import Literal


class RelayError(Exception):
    """Anything this project raises on purpose."""


class ConfigurationError(RelayError):
    """The configuration cannot be used. `mistakes` has one line for each thing to mend."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class StoreError(RelayError):
    """Redis did not do what was asked. The call may be repeated."""


class StoreUnavailable(StoreError):
    """Redis cannot be reached or cannot take writes now."""


class StoreFull(StoreError):
    """There is no room for more changes; draining goes on. Repeat when there is."""


class LeaseLost(RelayError):
    """The lane's lease is no longer ours."""


class DeliveryError(RelayError):
    """A batch was not delivered. `reason` is short and constant, for status, counters and logs."""

    outcome_unknown: bool = False
    """The vendor may yet apply what was sent."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def reword(self, words: Callable[[str], str]) -> None:
        """Say its detail in other words."""
        self.detail = words(self.detail)
        self.args = (f"{self.reason}: {self.detail}" if self.detail else self.reason,)


Scope = Literal["lane", "destination", "credential"]


class TryLater(DeliveryError):
    """A passing fault.

    `scope` is whom it concerns: the lane alone; the destination (the lane is held, and three in a row hold
    the destination); or all who use the credential.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        scope: Scope = "destination",
        retry_after: float | None = None,
        reset_at: float | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(reason, detail)
        self.scope: Scope = scope
        self.retry_after = retry_after
        """Seconds to wait, when the vendor named them."""
        self.reset_at = reset_at
        """When to come back, in seconds since the epoch, when the vendor named that."""
        self.outcome_unknown = outcome_unknown


class Throttled(TryLater):
    """The vendor's rate limit: nobody may use the credential until it ends, and then less often."""


class NotYet(DeliveryError):
    """Our own side has to wait, the lane for `lane_ms`; the vendor is not to blame and no fault is counted."""

    def __init__(self, reason: str, detail: str = "", *, lane_ms: int = 0) -> None:
        super().__init__(reason, detail)
        self.lane_ms = lane_ms


class NeedsPerson(DeliveryError):
    """Only somebody with access to the vendor or to the configuration can mend this; `detail` says how.

    `scope` is whom it concerns: the destination, or one lane alone (an audience that takes no changes, say).
    """

    def __init__(self, reason: str, detail: str = "", *, scope: Literal["lane", "destination"] = "destination") -> None:
        super().__init__(reason, detail)
        self.scope = scope


class TooLarge(DeliveryError):
    """The request was larger than the vendor takes."""


class Refused(DeliveryError):
    """The vendor refused the content of the request for good."""
