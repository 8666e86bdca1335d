"""How events come in: source events are read, routed and appended to lanes."""
