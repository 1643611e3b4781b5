"""The benchmarks that need no peer: `evsim bench`, and what `benchmarks/` shares with it."""
