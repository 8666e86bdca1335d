"""Every key in Redis: its name, type, expiry and meaning.

All keys of a destination share the hash tag `{name}`, all of a credential `{credential:<id>}`; so each group
lies in one slot of a Redis Cluster, and no script touches two groups.
"""

from hashlib import blake2b
from typing import Final, NamedTuple

PREFIX: Final = "relay:"
DESTINATIONS: Final = "relay:destinations"
REFUSED: Final = "relay:refused"
LEFT_OUT: Final = ":left-out"
NOTICES: Final = ":notices"
AUDIENCES: Final = ":audiences"
SHARDS: Final = ":shards"
"""Ends of a destination's keys that more than one module names."""


class Key(NamedTuple):
    """One row of the table. `name` is a pattern: `*` stands for what varies."""

    name: str
    type: str
    expiry: str
    meaning: str


TABLE: Final = (
    Key("relay:destinations", "set", "never", "names of the destinations that ever had a change"),
    Key("relay:refused", "hash", "never", "source events that routing did not accept: reason → count"),
    Key(
        "relay:{bookmarks:}*",
        "hash",
        "30 days",
        "where loads of a file stopped: digest of its beginning → how far, as JSON",
    ),
    Key("relay:{*}:lane:*", "list", "never", "a lane's values, oldest first; <shard>/<audience>"),
    Key("relay:{*}:since", "zset", "never", "lanes that wait → stamp of their head (ms)"),
    Key("relay:{*}:depth", "zset", "never", "lanes that wait → how many changes"),
    Key("relay:{*}:parked", "zset", "never", "leased and held lanes → when to look again (ms)"),
    Key("relay:{*}:leases", "hash", "never", "leased lane → 'ends sent token' (ms, ms)"),
    Key(
        "relay:{*}:holds",
        "hash",
        "never",
        "lane → its hold: reason, since, until (ms; -1: released by hand), attempts",
    ),
    Key("relay:{*}:hold", "hash", "never", "the destination's hold, and its faults in a row"),
    Key(
        "relay:{*}:counters",
        "hash",
        "never",
        "accepted, delivered, folded, buried, discarded, waiting; and beside them",
    ),
    Key("relay:{*}:wakeups", "zset", "never", "wake-ups sent or running → when their claim runs out (ms)"),
    Key("relay:{*}:chunk:*", "string", "10 minutes", "a chunk that was appended; makes append safe to repeat"),
    Key("relay:{*}:seen:*", "set", "two windows", "digests of message ids that were appended, by window"),
    Key("relay:{*}:dead", "hash", "never", "dead letter's number → lane, reason, stamp, persons; change"),
    Key("relay:{*}:dead-by-time", "zset", "never", "dead letter's number → when it was buried (ms)"),
    Key("relay:{*}:dead-persons", "hash", "never", "lane and identifier as JSON → its dead letters: number@stamp…"),
    Key("relay:{*}:dead-superseded", "set", "never", "dead letters of which a newer change was delivered"),
    Key("relay:{*}:bury", "set", "never", "lanes whose next attempt may bury however many are refused"),
    Key("relay:{*}:notes", "hash", "never", "what the destination keeps between batches (the vendor's ids)"),
    Key("relay:{*}:notices", "hash", "never", "what somebody should know though delivery goes on: subject → words"),
    Key("relay:{*}:left-out", "hash", "never", "what it did not get of accepted source events: reason → count"),
    Key(
        "relay:{*}:audiences",
        "hash",
        "never",
        "lanes of which the vendor took, or may have taken, anything → the audience's label",
    ),
    Key("relay:{*}:shards", "hash", "never", "audiences that have several lanes → how many"),
    Key("relay:{*}:erasing", "hash", "never", "lane → how many of the oldest erasures it has passed"),
    Key("relay:{*}:erasure:*", "string", "90 days", "what became of one request to forget somebody, as JSON"),
    Key("relay:{credential:*}:token", "hash", "a day", "access token, when it ends, who renews it"),
    Key("relay:{credential:*}:limit", "string", "a minute", "the rate limiter's theoretical arrival time (µs)"),
    Key("relay:{credential:*}:rate", "hash", "a day", "calls a minute as the vendor told or as learned from 429s"),
    Key("relay:{credential:*}:used:*", "string", "3 minutes", "permits used in one minute: taken and not given back"),
    Key("relay:{credential:*}:hold", "string", "the hold and ten minutes", "why nobody may use the credential"),
    Key("relay:{credential:*}:attempts", "string", "the hold and ten minutes", "how often in a row it was held"),
)


def bookmarks(path: str) -> str:
    return f"{PREFIX}{{bookmarks:}}{blake2b(path.encode(errors='surrogateescape'), digest_size=16).hexdigest()}"


def destination_root(name: str) -> str:
    return f"{PREFIX}{{{name}}}"


def credential_root(credential_id: str) -> str:
    return f"{PREFIX}{{credential:{credential_id}}}"


def declared(root: str) -> tuple[str, str]:
    """What a script declares of its keys: two, neither of which ever exists.

    While a Redis Cluster moves a slot, some of its keys are there and some still here. With one declared key a script
    would run there, blind to what is here; with two that are missing it is refused until the whole slot has moved.
    """
    return root, f"{root}:"
