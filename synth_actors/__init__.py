"""An embedded actor-model concurrency engine that makes synthetic data with LLMs."""
