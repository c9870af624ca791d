"""The service beside what people would use instead: the same weights, the same pairs, one machine, in turns."""
