"""How a preview divides a lane into batches."""

import pytest

from cli.rehearsal import heads
from worker.contract import Change, Identifier, encode, stamped

CHANGES = [
    Change(entered=True, occurred_at=0, identifiers=(Identifier("email", f"p{n}@example.com"),)) for n in range(7)
]
SIZE = len(stamped(0, encode(CHANGES[0])))
"""Of each of them, as it waits in Redis."""


@pytest.mark.parametrize(
    ("max_changes", "max_bytes", "sizes"),
    [
        (100, 10**6, [7]),
        (7, 10**6, [7]),
        (3, 10**6, [3, 3, 1]),
        (100, 3 * SIZE, [3, 3, 1]),
        (100, 3 * SIZE - 1, [2, 2, 2, 1]),
        (2, 3 * SIZE, [2, 2, 2, 1]),
        (100, 1, [1] * 7),
    ],
)
def test_a_batch_holds_as_many_changes_and_bytes_as_may_be(max_changes: int, max_bytes: int, sizes: list[int]) -> None:
    found = list(heads(CHANGES, max_changes, max_bytes))

    assert [len(each) for each in found] == sizes
    assert [change for head in found for change in head] == CHANGES
