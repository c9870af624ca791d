"""How the NPU is to be used: what a person can set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .bucket_plan import DEFAULT_BUCKETS

#: How long one bucket may compile, s.
COMPILE_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class NpuSettings:
    """What a person can set of the NPU.

    Attributes:
        cache: Folder of compiled buckets.
        buckets: Tokens of the static shapes; clipped to the model.
        requests: Inferences in flight over all buckets; 0 for Intel's number for this generation.
        hint: ``throughput`` or ``latency``.
        options: Further options of the plugin, already checked by ``read_options``.
        compile_limit_s: How long one bucket may compile, s.
    """

    cache: Path
    buckets: tuple[int, ...] = DEFAULT_BUCKETS
    requests: int = 0
    hint: str = "throughput"
    options: Mapping[str, str] = field(default_factory=dict)
    compile_limit_s: float = COMPILE_LIMIT_S
