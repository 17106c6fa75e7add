"""How fast is it, beside what one would write by hand?  `python -m benchmarks --help`."""
