"""How events come in: source events are decoded, read, routed and appended to lanes.

Other programs need `Publisher` and what it returns and raises, which are all to be had from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from producers.intake import Report
    from producers.publisher import Published, Publisher
    from worker.errors import ConfigurationError, StoreFull, StoreUnavailable

__all__ = ["ConfigurationError", "Published", "Publisher", "Report", "StoreFull", "StoreUnavailable"]

_HOMES: Final = {
    "Publisher": "producers.publisher",
    "Published": "producers.publisher",
    "Report": "producers.intake",
    "ConfigurationError": "worker.errors",
    "StoreFull": "worker.errors",
    "StoreUnavailable": "worker.errors",
}


def __getattr__(name: str) -> object:
    """Loaded when first asked for: a module of this package must not bring all others."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
