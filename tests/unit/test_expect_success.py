"""What the status of an answer alone tells."""

import pytest

from worker.destinations.base import Response, expect_success
from worker.errors import DeliveryError, NeedsPerson, Refused, Throttled, TooLarge, TryLater

IN_2027 = "Wed, 27 Jan 2027 00:00:00 GMT"
EPOCH_OF_IT = 1_801_008_000


def raised(status: int, **headers: str) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        expect_success(Response(status, b"", {name.replace("_", "-"): value for name, value in headers.items()}))
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 204])
def test_success_is_silent(status: int) -> None:
    expect_success(Response(status))


@pytest.mark.parametrize(
    ("status", "order"),
    [
        (302, NeedsPerson),
        (400, Refused),
        (401, NeedsPerson),
        (403, NeedsPerson),
        (408, TryLater),
        (410, NeedsPerson),
        (413, TooLarge),
        (425, TryLater),
        (429, Throttled),
        (500, TryLater),
        (503, TryLater),
    ],
)
def test_each_class_of_status_is_an_order(status: int, order: type[DeliveryError]) -> None:
    assert type(raised(status)) is order


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "seconds", "moment"),
    [("7", 7.0, None), (IN_2027, None, EPOCH_OF_IT), ("soon", None, None), ("", None, None)],
)
def test_how_long_to_wait_comes_as_seconds_or_as_a_date(
    status: int, header: str, seconds: float | None, moment: int | None
) -> None:
    order = raised(status, retry_after=header)

    assert isinstance(order, TryLater)
    assert (order.retry_after, order.reset_at) == (seconds, moment)


def test_the_end_of_a_window_counts_for_a_rate_limit_alone() -> None:
    throttled, away = raised(429, x_ratelimit_reset="1795255260"), raised(503, x_ratelimit_reset="1795255260")

    assert isinstance(throttled, TryLater)
    assert isinstance(away, TryLater)
    assert (throttled.reset_at, away.reset_at) == (1_795_255_260, None)
