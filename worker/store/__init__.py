"""All that is kept in Redis; the only place that imports redis."""
