r"""Paths into source events, as a configuration writes them: steps with dots between.

In a step, `\.` is a dot and `\\` a backslash; any other backslash stands for itself.
"""

import re
from typing import Final

Steps = tuple[str, ...]

AUDIENCE: Final = "$audience"
"""A last step that stands for the audience key."""
_PART: Final = re.compile(r"\\([.\\])|(\.)|([^.\\]+|\\)")
_PLACE_IN_LIST: Final = re.compile(r".*\[\d+\]", re.DOTALL)


def steps(path: str) -> Steps:
    r"""The keys to go down by.

    >>> steps(r"traits.work\.email")
    ('traits', 'work.email')
    """
    found = [""]
    for escaped, dot, plain in _PART.findall(path):
        if dot:
            found.append("")
        else:
            found[-1] += escaped or plain
    return tuple(found)


def written(keys: Steps) -> str:
    """The path of these keys: what `steps` takes apart."""
    return ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in keys)


def fault(path: str, *, may_name_audience: bool = False) -> str | None:
    """What is wrong with a path, as advice; None: nothing is."""
    keys = steps(path)
    if keys[0] == "$":
        return 'begins with "$."; leave that out'
    if "" in keys:
        return "is no path; a path is written like properties.plan"
    if any(map(_PLACE_IN_LIST.fullmatch, keys)):
        return "names a place in a list; only what stands in objects can be read"
    if AUDIENCE in (keys[:-1] if may_name_audience else keys):
        return f"{AUDIENCE} may only be the last step of a path of entered"
    return None
