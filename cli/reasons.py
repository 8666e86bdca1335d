"""Why source events are refused, in words for whoever has to mend them. Intake counts them by name."""

from collections.abc import Mapping
from typing import Final

from producers.segment import MAX_EVENT_BYTES, Reason

WORDS: Final[Mapping[Reason, str]] = {
    "too_large": f"larger than {MAX_EVENT_BYTES:,} bytes",
    "json": "no JSON object in UTF-8, or a broken CSV row",
    "type": "none of track, identify and delete",
    "shape": "a part that is read is no object, or a CSV row has not as many cells as its header",
    "unwanted": "no destination counts events like it (mapping.when)",
    "class": "about something other than an audience or a journey step",
    "timestamp": "its timestamp is not ISO 8601",
    "audience": "names no audience, or none that its destinations know",
    "direction": "does not say whether the person enters or leaves",
    "consent": "states another consent than its destinations send",
    "account": "names an account that the vendor cannot have",
    "identifier": "no identifier that its destinations can use",
    "unrouted": "no destination takes its audience",
}
