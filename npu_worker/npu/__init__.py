"""The NPU backend: static shapes, compiled in a child process, self-tested, watched in service; it fails closed."""
