"""What is left of a run that is killed just before, or just after, it does a certain thing?

`python tests/jobs/dies_at.py MODULE NAME before|after NTH ARGUMENT ...` runs the command with these arguments, in a
process that kills itself with -9 around the nth call of `NAME` in `MODULE`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from synth_actors.cli.app import run_command


def deadly(real: Callable[..., Any], when: str, nth: int) -> Callable[..., Any]:
    """`real`, but for what happens around its nth call."""
    calls = count(1)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(real)
    def plain(*args: Any, **kwargs: Any) -> Any:
        last = next(calls) == nth
        if last and when == "before":
            die()
        result = real(*args, **kwargs)
        if last:
            die()
        return result

    @functools.wraps(real)
    async def waiting(*args: Any, **kwargs: Any) -> Any:
        last = next(calls) == nth
        if last and when == "before":
            die()
        result = await real(*args, **kwargs)
        if last:
            die()
        return result

    return waiting if inspect.iscoroutinefunction(real) else plain


def main(module: str, name: str, when: str, nth: str, *arguments: str) -> int:
    """Run the command until it dies."""
    owner: Any = importlib.import_module(module)
    *parents, last = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, last, deadly(getattr(owner, last), when, int(nth)))
    return run_command(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
