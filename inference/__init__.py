"""Everything that asks a model for text: requests by hash, a write-ahead journal, limits, budget, endpoints and batches."""
