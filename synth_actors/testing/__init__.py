"""How does one test a program that uses the engine, without a server and without waiting?

`ScriptedProvider` stands where an endpoint may and answers by a script: texts, delays, faults.  Under trio's
`MockClock` (`pytest-trio`'s `autojump_clock`) its delays take no real time.
"""

from synth_actors.testing.scripted import Script, ScriptedProvider, Step

__all__ = ["Script", "ScriptedProvider", "Step"]
