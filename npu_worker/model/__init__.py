"""Models: where they come from, the one format they end up in, and the folder they are kept in."""
