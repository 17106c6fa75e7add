"""How does one test a program that uses the engine, without a server and without waiting?

`ScriptedProvider` stands where an endpoint may and answers by a script: texts, delays, faults.  `SimulatedProvider`
stands there too, in front of a server with hidden limits, a pace and trouble of its own.  Under trio's `MockClock`
(`simulate`, or `pytest-trio`'s `autojump_clock`) neither takes any real time.  `check_provider` tests a provider of
your own.
"""

from synth_actors.testing.conformance import check_provider
from synth_actors.testing.distributions import Constant, Distribution, LogNormal
from synth_actors.testing.hidden_limits import HiddenLimits
from synth_actors.testing.scripted import Script, ScriptedProvider, Step
from synth_actors.testing.simulate import simulate
from synth_actors.testing.simulated import SimulatedProvider
from synth_actors.testing.upstream_traits import Counts, Outage, Pace, Trouble

__all__ = [
    "Constant",
    "Counts",
    "Distribution",
    "HiddenLimits",
    "LogNormal",
    "Outage",
    "Pace",
    "Script",
    "ScriptedProvider",
    "SimulatedProvider",
    "Step",
    "Trouble",
    "check_provider",
    "simulate",
]
