"""What do the modules themselves say of every name, figure, rule and option?

`python -m docs.generator` (`make docs`) writes `docs/reference/metrics.md` and `docs/reference/api/*.md` from the
sources; `tests/test_reference.py` fails when a page is not what this gives.  It needs the dependency group `test`.
"""
