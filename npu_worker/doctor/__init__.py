"""What ``doctor`` checks: the kernel, OpenVINO and Intel's driver, the service, and the NPU itself."""
