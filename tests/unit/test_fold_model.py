"""Whatever the changes, batches and repetitions: in the end the vendor holds what was promised. Pure."""

from collections.abc import Sequence

from hypothesis import given

from tests.chaos.fold_model import Attempt, attempts, check, check_in_order, expected, streams
from worker.contract import Change, Identifier


@given(streams, attempts)
def test_the_newest_change_of_each_identifier_decides(stream: Sequence[Change], plan: Sequence[Attempt]) -> None:
    """Batches that were sent in part, or sent and not settled, are read again with what came since."""
    check(stream, plan)


@given(streams, attempts)
def test_how_changes_in_order_are_cut_into_batches_makes_no_difference(
    stream: Sequence[Change], plan: Sequence[Attempt]
) -> None:
    check_in_order(stream, plan)


def test_the_model_tells_batches_apart() -> None:
    """Within a batch the time decides, across batches the arrival."""
    ada = (Identifier("device", "ada"),)
    later_exit, earlier_entry = Change(False, 2, ada), Change(True, 1, ada)

    assert expected([[later_exit, earlier_entry]]) == set()
    assert expected([[later_exit], [earlier_entry]]) == set(ada)
