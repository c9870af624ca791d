"""What ``doctor`` looks at: the kernel, OpenVINO and Intel's driver, the service, and the NPU tried out."""
