"""On which machine, with which versions, and how busy was it?"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("synth-actors", "trio", "pydantic", "orjson", "sortedcontainers", "hdrhistogram")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`usable_cpus` are those that this process may run on; None where the system cannot say."""

    system: str
    processor: str
    cpus: int | None
    usable_cpus: int | None
    python: str
    packages: dict[str, str]


def this_machine() -> Machine:
    """The machine that this runs on."""
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cpus=os.cpu_count(),
        usable_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: version(name) for name in PACKAGES},
    )


def load_average() -> float | None:
    """Tasks that wanted to run, averaged over the last minute; None where the system does not count them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"
