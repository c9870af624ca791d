"""Life as a daemon: signals, log lines, sockets handed over, and words to the service manager."""
