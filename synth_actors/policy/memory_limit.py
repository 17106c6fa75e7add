"""How much memory may the process use?"""

from __future__ import annotations

from synth_actors.errors import ConfigError

MIB = 2**20
SHARE_OF_CONTAINER = 0.8
ROOM_ABOVE_OPENING_BYTES = 512 * MIB
LEAST_ROOM_BYTES = 64 * MIB
"""What others in the container hold may pass: it never takes more from the default limit than leaves this much."""


def default_limit(usable_bytes: int, rss_at_open_bytes: int, beside_others_bytes: int | None = None) -> int:
    """The smaller of 0.8 x what the process may use and what is resident at opening + 512 MiB.

    `usable_bytes` is what the container (or the machine) allows, `beside_others_bytes` what that leaves to this process
    now: memory of other processes is not the engine's to use.
    """
    mine = int(SHARE_OF_CONTAINER * usable_bytes)
    if beside_others_bytes is not None:
        beside = max(int(SHARE_OF_CONTAINER * beside_others_bytes), rss_at_open_bytes + LEAST_ROOM_BYTES)
        mine = min(mine, beside)
    return min(mine, rss_at_open_bytes + ROOM_ABOVE_OPENING_BYTES)


def check_limit(limit_bytes: int, rss_at_open_bytes: int) -> None:
    """Refuse a limit that leaves no room.

    Raises:
        ConfigError: the process is at or above the limit already.
    """
    if rss_at_open_bytes >= limit_bytes:
        example = rss_at_open_bytes + LEAST_ROOM_BYTES
        raise ConfigError(
            f"EngineConfig.memory_limit_bytes: {limit_bytes} bytes ({limit_bytes / MIB:.0f} MiB) leave no room: the"
            f" process holds {rss_at_open_bytes} bytes ({rss_at_open_bytes / MIB:.0f} MiB) at opening; give more than"
            f" that, for example {example} ({example / MIB:.0f} MiB), run in a larger container, or load less before"
            " the engine opens"
        )
