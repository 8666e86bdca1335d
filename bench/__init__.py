"""How fast the relay is, and what it costs, measured.

`python -m bench` measures it beside its peers and its limits, all in one run on one machine, and writes a page;
`python -m bench.check` compares with what was stored; `bench.simulation` tells how far a load carries.
"""
