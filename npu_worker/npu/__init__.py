"""The NPU backend: static shapes, compiled in a child process, proven at the start and in service, fail closed."""
