"""What all components share: messages, limits, the error tree, socket paths. Imports nothing of ours."""
