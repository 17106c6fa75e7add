"""A job in a script, a notebook or an asyncio program: `run_job` blocks until it is over."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from synth_actors.datasets import ColumnSpec, DedupSpec, JobIncompleteError, JobSpec, run_job

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 5, "maxLength": 60},
        "cuisine": {"enum": ["italian", "japanese", "mexican"]},
        "minutes": {"type": "integer", "minimum": 5, "maximum": 240},
    },
    "required": ["title", "cuisine", "minutes"],
    "additionalProperties": False,
}

with TemporaryDirectory() as name:
    spec = JobSpec(
        schema=SCHEMA,
        count=200,
        output=Path(name, "recipes.csv"),
        columns={"minutes": ColumnSpec(min=10, max=90, step=5)},
        dedup=DedupSpec(exact=True, near=None),
    )
    try:
        result = run_job(spec, resume=True)  # True: the same line begins the job and goes on with it
    except JobIncompleteError as exc:
        result = exc.result
        print(f"{result.report.missing} rows are missing: {dict(result.report.missing_reasons)}")
    assert result.output is not None
    print(result.output.read_text().splitlines()[:3])

    assert result.manifest is not None
    manifest = json.loads(result.manifest.read_text())
    print(f"{manifest['rows']['valid']} rows by {manifest['models']} for ${manifest['cost_usd']}: {manifest['digest']}")

    again = run_job(spec)  # a complete job is recognised: nothing is asked
    print(f"again: {again.report.valid} rows, the same file: {again.files == result.files}")
