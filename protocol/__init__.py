"""What all components share: messages, limits, the error tree, socket paths. Imports no other part of this package."""
