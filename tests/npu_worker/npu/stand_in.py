"""Stand-in A: the real NPU plugin told to run on the CPU. Only a test can put it in the NPU's place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openvino_reranker.npu_worker.npu.platform import Identity, Platform, check_plugin, read_identity

EXACT = {
    "NPU_USE_NPUW": "YES",
    "NPUW_DEVICES": "CPU",
    "NPUW_ONLINE_PIPELINE": "NONE",
    "INFERENCE_PRECISION_HINT": "f32",
}
#: Cut into parts that hand f16 to each other: a little off, as real hardware is.
IMPRECISE = {"NPU_USE_NPUW": "YES", "NPUW_DEVICES": "CPU"}


class StandIn(Platform):
    """A machine whose NPU is the CPU, and whose sysfs is a folder."""

    def __init__(
        self,
        sysfs: Path,
        dev: Path,
        options: dict[str, str] | None = None,
        compiler: Sequence[str] | None = None,
        driver: str | None = None,
        name: str = "NPU",
    ) -> None:
        super().__init__(sysfs, dev)
        self.forced_options = EXACT if options is None else options
        self._compiler = compiler
        self._driver = driver
        self.device_name = name

    def compile_command(self) -> Sequence[str]:
        return self._compiler or super().compile_command()

    def identify(self, core: Any) -> Identity:
        self._check_kernel()
        check_plugin(core)
        # The plugin itself lists no device here; all else is as it says.
        found = read_identity(core)
        return found if self._driver is None else Identity(found.openvino, self._driver, "c", "3720", "stand-in")

    def check_compiled(self, compiled: Any) -> None:
        devices = compiled.get_property("EXECUTION_DEVICES")
        assert devices == "NPU", devices
