"""Models behind a service: requests, retries, limits."""
