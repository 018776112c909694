"""The venue: pure and deterministic, what real money would meet."""
