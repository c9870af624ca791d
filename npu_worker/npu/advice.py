"""What to do about a problem, each piece of advice in one wording: for errors, ``doctor`` and README."""

RELEASES = "https://github.com/intel/linux-npu-driver/releases"
#: Intel's three packages, which must be of one release.
PACKAGES = ("intel-level-zero-npu", "intel-driver-compiler-npu", "intel-fw-npu")
#: Below this release of them some models are computed wrongly without an error.
LEAST_RELEASE = (1, 24)
#: Older loaders do not know the driver's current name.
LEAST_LOADER = (1, 17, 17)

LOADER = "install libze1 1.17.17 or newer from your distribution, or else from Level Zero's releases"
INSTALL = (
    f"install {', '.join(PACKAGES[:2])} and {PACKAGES[2]} of one release from {RELEASES}, and libze1 (1.17.17 or "
    "newer) and libtbb12 from your distribution"
)
COMPILER = (
    f"install intel-driver-compiler-npu, of the same release as intel-level-zero-npu, from {RELEASES}, and libtbb12 "
    "from your distribution"
)
UPDATE = f"update all three of Intel's NPU packages to the newest release from {RELEASES}"
RELOAD = "reload the driver with 'sudo modprobe -r intel_vpu && sudo modprobe intel_vpu', or restart the machine"
ONE_RELEASE = f"install all three of Intel's NPU packages from one release ({RELEASES}), then {RELOAD}"
LEFT_OVER = "sudo find /usr -name 'libze_intel_vpu.so*' -delete && sudo ldconfig"
UDEV_RULE = 'SUBSYSTEM=="accel", KERNEL=="accel*", GROUP="render", MODE="0660"'
ADD_RULE = (
    f"echo '{UDEV_RULE}' | sudo tee /etc/udev/rules.d/70-accel.rules && sudo udevadm control --reload && "
    "sudo udevadm trigger --subsystem-match=accel"
)
FIND_NPU = (
    "see that this machine has an Intel NPU that is enabled in its firmware's set-up, then 'sudo modprobe intel_vpu' "
    "and 'sudo dmesg | grep vpu'; without an NPU use --device CPU"
)
IN_CONTAINER = "in a container, pass it in: --device /dev/accel --group-add $(stat -c %g /dev/accel/accel0)"
KERNEL = "install kernel 6.11 or newer"
REPORT = "send us the report of 'openvino-reranker doctor --npu'"


def join_group(group: str) -> str:
    """Return how to join a group so that a user's services are in it too."""
    return (
        f"sudo usermod -aG {group} $USER, then restart the machine or run 'loginctl terminate-user $USER' (it ends all "
        "your sessions; logging in again is not enough, because your service manager keeps its old groups)"
    )
