"""Local stand-ins of the vendors, strict to their contracts; they know nothing of the relay."""
