"""The breaking machine: what must never go wrong, held against models while everything around it breaks.

- `python -m tests.chaos` kills and stops real workers and Redis under vendors that fail, then compares.
- `lane_machine`: the store's scripts against a model of lanes, step by step.
- `one_process`: flushes that break off at any step, on a test clock.
- `fold_model`: folding against the promise that it keeps.
- `planted`: defects that each of these must find.
"""
