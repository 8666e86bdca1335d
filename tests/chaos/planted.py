"""Defects planted on purpose, in copies of the text of scripts and functions, to see that a suite finds them."""

import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings

from worker.store import scripts


class InScript(NamedTuple):
    """A script with one fragment replaced. Scripts that are registered from then on have it."""

    name: str
    fragment: str
    replacement: str

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        original = scripts._text  # noqa: SLF001 - the one place where scripts are read
        broken = replaced(original(self.name), self.fragment, self.replacement)
        patch.setattr(scripts, "_text", lambda name: broken if name == self.name else original(name))


class InFunction(NamedTuple):
    """A function with one fragment replaced, for all who have it, however they came by it."""

    function: Callable[..., Any]
    fragment: str
    replacement: str

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        function = self.function
        if not isinstance(function, FunctionType):
            raise TypeError(f"{function!r} is no plain function")
        source = replaced(textwrap.dedent(inspect.getsource(function)), self.fragment, self.replacement)
        namespace = dict(function.__globals__)
        exec(compile(source, inspect.getfile(function), "exec"), namespace)  # noqa: S102 - our own source
        patch.setattr(function, "__code__", namespace[function.__name__].__code__)


Planted = InScript | InFunction


def replaced(text: str, fragment: str, replacement: str) -> str:
    """Fails when the fragment is not there exactly once: then the defect has to be planted anew."""
    count = text.count(fragment)
    if count != 1:
        raise LookupError(f"this fragment is there {count} times, not once: {fragment!r}")
    return text.replace(fragment, replacement)


SEARCH: Final = settings(
    max_examples=1000,
    stateful_step_count=100,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
"""For finding a defect that is known to be there: the first failure will do, in the form in which it was found."""
