"""The one command, `audience-relay`: here everything is put together."""
