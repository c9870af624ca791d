"""The command line: one program that starts, asks and inspects the service."""
