"""What others do with the same events. Runs in an environment of its own: see `bench.compare`."""
