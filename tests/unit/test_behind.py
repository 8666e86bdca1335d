"""One job after another, while the caller prepares the next."""

import threading
from functools import partial

import pytest

from producers.behind import Behind, Job


def test_jobs_are_done_in_their_order_and_all_of_them() -> None:
    done: list[int] = []

    with Behind() as behind:
        for number in range(50):
            behind.do(partial(done.append, number))

    assert done == list(range(50))


def test_the_caller_goes_on_while_a_job_is_done_but_is_never_two_ahead() -> None:
    may_end = threading.Event()
    begun: list[str] = []

    with Behind() as behind:
        behind.do(may_end.wait)
        begun.append("the caller goes on")
        threading.Timer(0.05, may_end.set).start()
        behind.do(lambda: begun.append("the second job"))
        assert may_end.is_set()

    assert begun == ["the caller goes on", "the second job"]


def test_what_a_job_raises_is_raised_by_the_next_call_and_nothing_more_is_begun() -> None:
    done: list[int] = []

    with Behind() as behind:
        behind.do(partial(int, "x"))
        with pytest.raises(ValueError, match="invalid literal"):
            behind.do(partial(done.append, 1))

    assert done == []


def test_what_the_last_job_raises_is_raised_in_the_end() -> None:
    with pytest.raises(ValueError, match="invalid literal"), Behind() as behind:
        behind.do(partial(int, "x"))


def test_an_error_of_the_caller_does_not_hide_that_of_a_job() -> None:
    with pytest.raises(ValueError, match="invalid literal") as raised:
        _stop(RuntimeError("the file ends in the middle"), after=partial(int, "x"))

    assert isinstance(raised.value.__context__, RuntimeError)


def test_who_is_interrupted_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.behind.GRACE_SECONDS", 0.01)
    never = threading.Event()

    with pytest.raises(KeyboardInterrupt):
        _stop(KeyboardInterrupt(), after=partial(never.wait, 60))

    never.set()


def test_without_a_job_there_is_no_thread() -> None:
    before = threading.active_count()

    with Behind() as behind:
        behind.wait()
        assert threading.active_count() == before


def _stop(error: BaseException, *, after: Job) -> None:
    with Behind() as behind:
        behind.do(after)
        raise error
