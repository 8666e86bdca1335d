"""Facts about audience-relay."""
