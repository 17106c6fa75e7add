"""How is it shown that a program gets by with so much memory?  It is given no more address space than that.

The system then refuses what is beyond, to this process and to each that it starts, by itself (`RLIMIT_AS`).  Address
space is more than memory: what is only reserved counts as well.  With glibc, a thread that allocates reserves 8 MiB for
its stack and 64 MiB for a heap of its own, of which it touches a hundredth; both are made smaller.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading

import psutil

from synth_actors.errors import ConfigError

MIB = 2**20
STACK_BYTES = MIB
"""Of each thread that is started from now on: writers of files and look-ups of names, which do not recurse."""
_M_ARENA_MAX = -8
"""mallopt(3)."""


def cap_memory(size_bytes: int) -> None:
    """Allow this process, and those that it starts from now on, so many bytes of address space each.

    Raises:
        ConfigError: this system knows no such limit, allows less already, or more than that is in use.
    """
    said = f"--memory-cap {size_bytes / MIB:,.0f}M"
    if sys.platform in ("win32", "darwin"):  # Darwin has the name, and keeps no such limit
        raise ConfigError(f"{said}: this system cannot limit address space; leave it out, or run in a Linux container")
    import resource

    _, hard_bytes = resource.getrlimit(resource.RLIMIT_AS)
    if hard_bytes != resource.RLIM_INFINITY and hard_bytes < size_bytes:
        raise ConfigError(f"{said}: the system allows {hard_bytes / MIB:,.0f} MiB already (ulimit -v); give less")
    used_bytes = psutil.Process().memory_info().vms
    if used_bytes >= size_bytes:
        raise ConfigError(f"{said}: {used_bytes / MIB:,.0f} MiB are in use before anything is measured; give more")
    _reserve_less()
    resource.setrlimit(resource.RLIMIT_AS, (size_bytes, hard_bytes))


def _reserve_less() -> None:
    threading.stack_size(STACK_BYTES)
    os.environ["MALLOC_ARENA_MAX"] = "1"  # for the processes that are started
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other libraries have no heaps by thread
        mallopt(_M_ARENA_MAX, 1)


def lack_of_memory(exc: BaseException) -> str | None:
    """One line for whoever ran out of memory; None when `exc` is something else.

    What breaks in tasks comes in groups, and what breaks in an engine's actor ends the engine, with it as the cause.
    """
    if not _is_from_memory_error(exc):
        return None
    cap_bytes = _cap_bytes()
    if cap_bytes is None:
        return "the system has no memory left; give a smaller --concurrency, or fewer --suite"
    return (
        f"--memory-cap {cap_bytes / MIB:,.0f}M is not enough for this; "
        "give more, a smaller --concurrency, or fewer --suite at once"
    )


def _cap_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft_bytes, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft_bytes == resource.RLIM_INFINITY else soft_bytes


def _is_from_memory_error(exc: BaseException) -> bool:
    left, seen = [exc], set[int]()
    while left:
        link = left.pop()
        if isinstance(link, MemoryError):
            return True
        if id(link) not in seen:
            seen.add(id(link))
            left += link.exceptions if isinstance(link, BaseExceptionGroup) else ()
            left += [near for near in (link.__cause__, link.__context__) if near is not None]
    return False
