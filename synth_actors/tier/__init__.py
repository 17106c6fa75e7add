"""Which answers outlive the run that paid for them?

The durable tier of the cache: one SQLite file that several processes on a machine share.  What the disk does never
reaches a request: a tier that cannot read answers "not there", one that cannot write drops and counts.
"""

from synth_actors.tier.rows import Found, Kept
from synth_actors.tier.tier import Tier, open_tier

__all__ = ["Found", "Kept", "Tier", "open_tier"]
