"""What does `python -m synth_actors` do?  The same as the command `synth-actors`."""

from __future__ import annotations

from synth_actors.cli.app import main

if __name__ == "__main__":
    main()
