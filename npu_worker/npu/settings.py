"""How the NPU is to be used: what a person can set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .bucket_plan import DEFAULT_BUCKETS

#: How many batches the busy-time counter may stand still for before the worker gives up.
PROOF_BATCHES = 8
#: How long one bucket may compile, s.
COMPILE_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class NpuSettings:
    """What a person can set of the NPU.

    Attributes:
        cache: Folder of compiled buckets.
        buckets: Tokens of the static shapes; clipped to the model.
        requests: Inferences in flight over all buckets; 0 for what the plugin calls optimal.
        hint: ``throughput`` or ``latency``.
        turbo: Whether to ask for the highest frequency.
        tiles: Compute tiles a model may use; 0 for what the hint means.
        options: Further options of the plugin, already looked at by ``read_options``.
        proof_batches: Batches the busy-time counter may stand still for.
        compile_limit_s: How long one bucket may compile, s.
    """

    cache: Path
    buckets: tuple[int, ...] = DEFAULT_BUCKETS
    requests: int = 0
    hint: str = "throughput"
    turbo: bool = False
    tiles: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    proof_batches: int = PROOF_BATCHES
    compile_limit_s: float = COMPILE_LIMIT_S
