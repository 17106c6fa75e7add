"""How much memory may this process use, and how much does it?

The machine's own figure is not enough: in a container psutil sees the host.  What counts are the limits of this
process's control group and of every group above it, in cgroup v2 and v1, and how much of each is taken: the *working
set*, which is what the group has charged without the page cache that the kernel drops first (inactive_file), as kubelet
computes it.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CGROUP_ROOT = "/sys/fs/cgroup"
V2_FILES = ("memory.max", "memory.high")  # above `high` the kernel throttles until the process hardly runs
V1_FILES = ("memory.limit_in_bytes",)
STAT = "memory.stat"  # in v1 its hierarchical_memory_limit also covers groups above the namespace, which no path shows
V2_USAGE, V2_CACHE = "memory.current", "inactive_file"
V1_USAGE, V1_CACHE = "memory.usage_in_bytes", "total_inactive_file"  # without `total_` it leaves out nested groups
NO_LIMIT_FROM = 2**60  # v1 writes "unlimited" as 2**63 - 1 rounded down to a page, whatever the page size is


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mount:
    """One line of mountinfo: the part `root` of a control group hierarchy is seen at `point`."""

    root: str
    point: Path
    kind: str  # "cgroup" or "cgroup2"
    controllers: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerMemory:
    """A control group that limits this process, at one moment: its limit, and its working set."""

    limit_bytes: int
    working_set_bytes: int

    @property
    def room_bytes(self) -> int:
        """What is left until the kernel throttles or kills; below 0 for a moment while it reclaims."""
        return self.limit_bytes - self.working_set_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """One control group that has a limit."""

    folder: Path
    is_v2: bool
    limit_bytes: int

    def usage_bytes(self) -> int:
        """What it has charged, page cache included; 0 where that cannot be read."""
        return max(_numbers(_lines(self.folder / (V2_USAGE if self.is_v2 else V1_USAGE))), default=0)

    def working_set_bytes(self) -> int:
        """What it has charged without what the kernel drops first."""
        droppable = _stat(self.folder, V2_CACHE if self.is_v2 else V1_CACHE)
        return max(0, self.usage_bytes() - max(droppable, default=0))


class Container:
    """The control groups that limit this process, as they were when this was made."""

    def __init__(self, root: str = CGROUP_ROOT, proc: str = "/proc") -> None:
        """`root` is where the control groups are mounted, `proc` the process file system; tests give other folders."""
        self._groups = [
            _Group(folder=folder, is_v2=mount.kind == "cgroup2", limit_bytes=min(limits))
            for mount, path in _hierarchies(root, proc)
            for folder in _folders(mount, path)
            if (limits := list(_limits(folder, mount.kind)))
        ]

    @property
    def limit_bytes(self) -> int | None:
        """The smallest limit, None where nothing limits."""
        return min((group.limit_bytes for group in self._groups), default=None)

    def may_be_near(self, room_bytes: Callable[[int], int]) -> bool:
        """Whether somewhere less may be left than `room_bytes` says for its limit, page cache taken for memory.

        It reads one small file for each limit.  Only if it is true is `read` needed, whose file the kernel sums up over
        all processors and nested groups, which takes milliseconds on large machines.
        """
        return any(group.limit_bytes - group.usage_bytes() < room_bytes(group.limit_bytes) for group in self._groups)

    def read(self) -> ContainerMemory | None:
        """The group with the least room left; None where nothing limits.  Not for the event loop, if it can wait."""
        readings = (
            ContainerMemory(limit_bytes=group.limit_bytes, working_set_bytes=group.working_set_bytes())
            for group in self._groups
        )
        return min(readings, key=lambda memory: memory.room_bytes, default=None)

    def beside_others_bytes(self, own_bytes: int) -> int | None:
        """What this process may hold beside the others in the group; None where nothing limits.

        `own_bytes` is what it holds itself: that much of the working set is not theirs.
        """
        memory = self.read()
        return None if memory is None else memory.limit_bytes - max(0, memory.working_set_bytes - own_bytes)

    def __repr__(self) -> str:
        return f"<Container limits={[group.limit_bytes for group in self._groups]}>"


def usable_memory_bytes(root: str = CGROUP_ROOT, proc: str = "/proc") -> int:
    """The container's limit, or the machine's memory where there is none or it is larger."""
    import psutil  # late: a process that never opens an engine does not pay for it

    total = int(psutil.virtual_memory().total)
    limit = container_limit_bytes(root, proc)
    return total if limit is None else min(limit, total)


def container_limit_bytes(root: str = CGROUP_ROOT, proc: str = "/proc") -> int | None:
    """The smallest memory limit of this process's control group and its ancestors; None where nothing limits it."""
    return Container(root, proc).limit_bytes


def rss_bytes() -> int:
    """Resident memory of this process; one call takes about 14 us."""
    return _rss_reader()()


@cache
def _rss_reader() -> Callable[[], int]:
    import psutil

    process = psutil.Process()
    return lambda: int(process.memory_info().rss)


def _hierarchies(root: str, proc: str) -> Iterator[tuple[_Mount, str]]:
    """Every mounted hierarchy that can limit memory, with this process's path in it."""
    mounts = [mount for line in _lines(Path(proc, "self", "mountinfo")) if (mount := _parse_mount(line, root))]
    groups = [line.split(":", 2) for line in _lines(Path(proc, "self", "cgroup")) if line.count(":") >= 2]
    for _number, controllers, path in groups:
        for mount in mounts:
            unified = mount.kind == "cgroup2" and not controllers
            if unified or (mount.kind == "cgroup" and "memory" in mount.controllers & set(controllers.split(","))):
                yield mount, path


def _parse_mount(line: str, root: str) -> _Mount | None:
    """A control group mount, None for any other.  `ID PARENT DEVICE ROOT POINT OPTIONS [TAGS] - KIND SOURCE SUPER`."""
    head, separator, tail = line.partition(" - ")
    before, after = head.split(), tail.split()
    if not separator or len(before) < 5 or len(after) < 3 or after[0] not in ("cgroup", "cgroup2"):
        return None
    point = Path(_unescape(before[4]))
    if point.is_relative_to(CGROUP_ROOT):
        point = Path(root, point.relative_to(CGROUP_ROOT))
    controllers = frozenset(after[2].split(","))
    return _Mount(root=_unescape(before[3]), point=point, kind=after[0], controllers=controllers)


def _unescape(text: str) -> str:
    r"""Mountinfo writes a blank as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _limits(folder: Path, kind: str) -> Iterator[int]:
    for name in V2_FILES if kind == "cgroup2" else V1_FILES:
        yield from _numbers(_lines(folder / name))
    if kind == "cgroup":
        yield from _stat(folder, "hierarchical_memory_limit")


def _stat(folder: Path, name: str) -> list[int]:
    """What stands behind `name` in the group's statistics."""
    prefix = f"{name} "
    return list(_numbers([line.removeprefix(prefix) for line in _lines(folder / STAT) if line.startswith(prefix)]))


def _folders(mount: _Mount, path: str) -> Iterator[Path]:
    """This process's group and its ancestors, as far up as the mount shows them.

    A path outside the mounted part (a container that sees its host's paths, or `/..` seen from a namespace) means that
    the mount point itself is the nearest group that can be read.
    """
    inside = Path(path).relative_to(mount.root) if Path(path).is_relative_to(mount.root) else Path()
    if ".." in inside.parts:
        inside = Path()
    for folder in (inside, *inside.parents):
        yield mount.point / folder


def _numbers(lines: list[str]) -> Iterator[int]:
    """The limits among some lines; `max` and v1's huge number are none."""
    for line in lines:
        if line.isdecimal() and int(line) < NO_LIMIT_FROM:
            yield int(line)


def _lines(file: Path) -> list[str]:
    """The lines of a file of the kernel; none when it does not exist or may not be read."""
    try:
        return file.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []


def map_pages(size_bytes: int) -> mmap.mmap:
    """`size_bytes` of zeroed memory of its own: it goes back to the system the moment it is closed.

    What the allocator hands out comes back only when everything around it is free, too.  Pages that were never written
    are not resident.
    """
    private = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)
    pages = mmap.mmap(-1, size_bytes, flags=private) if private else mmap.mmap(-1, size_bytes)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages does not know the advice
            # A huge page over two of these would keep the memory of a closed one until the other one goes.
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return pages


def trim_heap() -> bool:
    """Ask the allocator to give free pages back to the system; False where it has no such call (only glibc has).

    On a heap of 400 MB full of holes this took 38 ms, during which nobody else could allocate: not for the event loop.
    """
    trim = _trimmer()
    if trim is None:
        return False
    trim(0)
    return True


@cache
def _trimmer() -> Callable[[int], int] | None:
    import ctypes

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another libc, or none that can be opened by that name
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda pad: int(trim(pad))
