"""How changes go out: lanes in Redis, Celery workers that drain them, and the vendors' conversations."""
