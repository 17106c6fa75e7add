"""What does a new job file say?

It works as it is, without a key.  A line that begins with `#` and no blank is a setting that may be made by taking the
`#` away; a test does so with every one.
"""

from __future__ import annotations

TEMPLATE = """\
# A job: which rows, from whom, where to.  Run it with:  synth-actors run job.toml
# After an interruption go on with:  synth-actors run job.toml --resume  (what was answered is not asked for again).
# Take the # away in front of what you want to set.

[job]
count = 200                       # how many rows
output = "customers.jsonl"        # .jsonl, .csv, .parquet, or a folder with a / at its end; relative to this file
endpoints = ["local"]             # "local" needs no key and costs nothing: it makes up plausible values by itself
#endpoints = ["anthropic:claude-haiku-5-5"]           # the key is in ANTHROPIC_API_KEY
#endpoints = ["openai:gpt-5-mini", "local"]           # the key is in OPENAI_API_KEY; the second one stands in
#endpoints = ["openai:my-model@http://127.0.0.1:8000/v1"]   # any OpenAI-compatible server
seed = 0                          # another seed gives other rows
#instructions = "Customers of a bicycle shop in Lyon.  Names and cities are French."
#rows_per_request = 20            # rows that one call asks for
#concurrency = 100                # calls at once
#budget_usd = 5.0                 # stop before this is passed
#durability = "power"             # what was paid for survives a loss of power, too; "process" is faster
#schema = "customers.schema.json" # a JSON Schema file, or a pydantic model as "package.module:Model"

# What one row is, as JSON Schema; this table goes when `schema` is set above.
[job.schema]
type = "object"
required = ["full_name", "email", "city", "plan", "age", "signed_up_on", "monthly_spend", "note"]
additionalProperties = false

[job.schema.properties]
full_name = {type = "string", minLength = 3, maxLength = 60}
email = {type = "string", format = "email"}
city = {type = "string", minLength = 2, maxLength = 40}
plan = {enum = ["free", "pro", "team"]}
age = {type = "integer", minimum = 18, maximum = 90}
signed_up_on = {type = "string", format = "date"}
monthly_spend = {type = "number", minimum = 0, maximum = 500}
note = {type = "string", maxLength = 200, description = "What support wrote down after the last call"}

# An endpoint with settings of its own; this table goes with `endpoints` above left out.
#[[job.endpoints]]
#provider = "openai"
#model = "my-model"
#base_url = "http://127.0.0.1:8000/v1"
#api_key_env = "MY_KEY"
#max_concurrency = 16
#requests_per_minute = 600
#price = {input_usd_per_mtok = 0.25, output_usd_per_mtok = 2.0}

# What varies.  A column of the schema gets exactly the values that are given here, whatever the model writes; under any
# other name the value is only told to the model.
[columns.plan]
values = {free = 0.7, pro = 0.25, team = 0.05}        # each value with its share
#values = ["free", "pro", "team"]                     # or a list, each as often as the others,
#weights = [7, 2, 1]                                  # unless there are weights, one for each value

[columns.signed_up_on]
min = 2024-01-01                  # numbers or dates, both ends included
max = 2026-06-30
#step = 7                         # in steps: of numbers, of days, of seconds

#[columns.monthly_spend]
#min = 0.0
#max = 499.5
#step = 0.5

#[columns.city]
#file = "cities.txt"              # a line for each value; .jsonl and .csv too, there with the field:
#file = "cities.csv"
#field = "name"

#[columns.mood]
#values = ["delighted", "neutral", "angry"]           # "mood" is no column: the model is told it as a hint

#[columns.like]
#examples = "seed.jsonl"          # rows to resemble; each new row is shown some of them
#examples = ["Could not log in", "Asked for an invoice"]
#per_row = 2

#[columns.age]
#python = "my_columns:age"        # def age(row, rng): return rng.randint(18, 90)

#[dedup]
#exact = true                     # no two equal rows
#near = 0.8                       # nor any whose words are so much alike; false: only equal ones are refused
#max_attempts = 3                 # how often another row is asked for instead

#[limits]
#max_tokens = 4000                # of a call; without it, by the size of the rows
#temperature = 1.0
#max_attempts = 4                 # how often a row is asked for that comes out invalid
#timeout_s = 300.0                # of a request
#outage_patience_s = 600.0        # how long to wait while no endpoint answers
#requests_per_minute = 1000       # these three at each endpoint
#input_tokens_per_minute = 1000000
#output_tokens_per_minute = 200000
#memory_limit_bytes = 1000000000
#drain_timeout_s = 120.0          # what running calls get after the job was stopped
"""
"""The text that `synth-actors init` writes."""
