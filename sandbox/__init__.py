"""Local stand-ins of the three vendors, strict to their contracts; they know nothing of the relay."""
