"""What has a tier done, and how is it?"""

from __future__ import annotations

from synth_actors.snapshot import DurableSnapshot as TierStatistics
from synth_actors.snapshot import DurableState as State

__all__ = ["State", "TierStatistics"]
