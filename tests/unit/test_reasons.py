"""Every reason for which a source event is refused has words."""

from typing import get_args

from cli.reasons import WORDS
from producers.segment import Reason


def test_every_reason_has_words() -> None:
    assert set(WORDS) == set(get_args(Reason))
