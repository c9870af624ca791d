"""A Ray cluster of two nodes on this machine: prints its address, and ends when its input does.

The argument is the resources of each node, as JSON. Everything listens on the loopback alone, which Ray does where its
clusters are switched off (see the test): so nodes are started by Ray's own helper for tests, not by ``ray start``.
"""

import json
import sys

from ray.cluster_utils import Cluster


def main() -> None:
    """Run until standard input ends."""
    node = {
        "num_cpus": 2,
        "node_ip_address": "127.0.0.1",
        "object_store_memory": 100_000_000,
        "include_dashboard": False,
        "resources": json.loads(sys.argv[1]),
    }
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        cluster.wait_for_nodes()
        print(f"address: {cluster.address}", flush=True)
        sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
