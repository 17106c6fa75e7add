"""How does a JSON Schema become realistic, valid JSON?  Pure: a schema and a seed in, a value out."""
