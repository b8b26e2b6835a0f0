"""The parts of pipelines.personas: choices by hash, requests, strict parsing of replies, rows of the raw tables."""
