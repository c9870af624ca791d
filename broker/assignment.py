"""What a worker that asks for work gets.

A pair that runs alone is all the worker holds, else its death would be blamed on others.
"""

from .pair_queue import PairQueue
from .throughput import ThroughputEstimator
from .worker_session import InFlight, WorkerSession


def next_batch(worker: WorkerSession, queue: PairQueue, throughput: ThroughputEstimator) -> InFlight | None:
    """Take the worker's next batch from the queue, or return None if nothing may be sent to it now.

    1. The worker holds a pair that runs alone: nothing is sent until that is answered.
    2. A pair waits to run alone: it goes next, as soon as the worker holds nothing; nothing passes it.
    3. Else a batch is made of what waits.
    """
    if not queue or worker.runs_isolated:
        return None
    if not queue.has_isolated:
        return InFlight(queue.take(throughput.budget(queue.interactive_only_tokens), throughput.cost))
    if worker.in_flight:
        return None
    retry = queue.take_isolated()
    return InFlight([retry.entry], isolated=True, implicated=retry.implicated)
