"""What would the cache have done under other settings?"""

from __future__ import annotations

from synth_actors.config import CacheConfig
from synth_actors.policy.format_repeats import FormatRepeats
from synth_actors.policy.reuse import ReuseCurves
from synth_actors.snapshot import CurvesSnapshot
from synth_actors.types import Request


class Curves:
    """Hit rates at other sizes and times to live, and how much is asked again in another format.

    `hit` is `ReuseCurves.record` itself, since it stands on the way of every hit.
    """

    __slots__ = ("_formats", "_reuse", "hit", "not_kept")

    def __init__(self, config: CacheConfig) -> None:
        self._reuse = ReuseCurves(max_entries=config.max_entries, ttl_s=config.ttl_s)
        self._formats = None if config.normalise_prompts else FormatRepeats()
        self.hit = self._reuse.record
        self.not_kept = self._reuse.not_kept

    def led(self, key: bytes, request: Request, now: float) -> None:
        """There was nothing, and nobody was making it."""
        self._reuse.record(key, now)
        if self._formats is not None:
            self._formats.note(key, request)

    def joined(self, key: bytes, now: float) -> None:
        """There was nothing, and somebody was making it."""
        self._reuse.record(key, now, joined=True)

    def snapshot(self) -> CurvesSnapshot:
        """The curves so far."""
        reuse, formats = self._reuse, self._formats
        return CurvesSnapshot(
            lookups=reuse.lookups,
            sampled_keys=reuse.sampled_keys,
            rate=reuse.rate,
            size=reuse.size_curve(),
            ttl=reuse.ttl_curve(),
            format_checked=0 if formats is None else formats.checked,
            format_repeats=0 if formats is None else formats.repeats,
        )

    def __repr__(self) -> str:
        return f"<Curves {self._reuse!r}>"
