"""Speed against what one would do instead: `python -m benchmarks`."""
