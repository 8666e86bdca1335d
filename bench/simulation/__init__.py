"""How far a load carries: from unit costs that were measured, by arithmetic where that does, else by simulation.

    python -m bench.simulation --costs costs.json --kind criteo --destinations 20 --audiences 500 --rate 2000

Every destination has a vendor account, lanes and changes of its own, all alike. Arithmetic tells what is needed of
workers, Redis and vendor; the simulation tells the delays, since lanes fall due together while `max_in_flight`, permits
and workers are few. What a vendor takes for a request is an assumption, for nobody here can measure it.
"""
