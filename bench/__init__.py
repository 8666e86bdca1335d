"""What the relay costs, measured."""
