"""Load on a running service: callers in processes of their own, and what they saw."""
