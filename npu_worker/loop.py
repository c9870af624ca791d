"""The worker's shell: one poll loop over the broker's socket, the device's wake-ups and the clock."""

import contextlib
import logging
import os
import socket
import time
from pathlib import Path

import msgspec
import zmq

from ..daemon.heartbeat import Heartbeat
from ..daemon.notify import Notifier
from ..daemon.stop_signal import StopSignal
from ..protocol.codec import decode_for_worker, encode
from ..protocol.errors import InvalidRequest
from ..protocol.limits import MAX_MESSAGE_BYTES
from ..protocol.message import Message
from ..protocol.timeouts import DEFAULT_TIMEOUTS, Timeouts
from ..protocol.worker_messages import (
    Batch,
    BatchResult,
    BrokerToWorker,
    Dismissed,
    Progress,
    Pull,
    WhoAreYou,
    WorkerBye,
    WorkerHello,
    WorkerState,
    WorkerWelcome,
)
from .device import Device
from .errors import DeviceStuck, GivenUp, WorkerError
from .job import Job
from .npu.busy_monitor import BusyMonitor
from .pipeline import LEAD_MS, Pipeline
from .tokenization import PairTokenizer
from .warm_up import IdleWarmUp

logger = logging.getLogger("openvino_reranker.worker")

#: How often the worker sends something to the broker, s: busy and idle.
BUSY_PROGRESS_S = 0.25
IDLE_PROGRESS_S = 1.0
#: An unanswered hello is repeated after this long, s: a dying broker may have received it.
HELLO_AGAIN_S = 5.0
#: How long a stopping worker waits for the device, s.
DRAIN_S = 10.0


class Dismissal(Exception):
    """Another worker serves the broker now."""


class WorkerLoop:
    """Serves one device to the broker until told to stop.

    Args:
        device: The compiled, tried device.
        tokenizer: The model's.
        model: The model's name, for answers.
        workers_socket: The broker's socket for workers; it may appear later.
        notifier: The connection to the service manager, if there is one.
        monitor: What proves that the device works, where there is such a thing.
        timeouts: When the device is stuck.
    """

    def __init__(
        self,
        device: Device,
        tokenizer: PairTokenizer,
        model: str,
        workers_socket: Path,
        notifier: Notifier | None = None,
        monitor: BusyMonitor | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        self._device = device
        self._timeouts = timeouts
        self._monitor = monitor
        self._ended: dict[int, Job] = {}  # by batch number: their rise of the busy time is not known yet
        self._tokenizer = tokenizer
        self._hello = WorkerHello(
            pid=os.getpid(),
            model=model,
            device=device.name,
            precision=device.precision,
            max_length=tokenizer.max_length,
            budget_tokens=device.budget_tokens,
            buckets=list(device.buckets),
            details=device.details(),
        )
        self._address = f"ipc://{workers_socket}"
        self._wakened, self._waker = socket.socketpair()
        self._wakened.setblocking(False)
        self._waker.setblocking(False)
        self._pipeline = Pipeline(device, self._wake)
        self._warm_up = IdleWarmUp(device, self._wake, time.monotonic())
        # No broker is reached: the hello goes out as soon as there is a connection.
        self._hello_due, self._hello_sent = True, 0.0
        self._welcomed = False
        self._pulling = False
        self._last_sent = 0.0
        self._heartbeat = Heartbeat(notifier)
        self._stop_at: float | None = None
        self._pairs, self._device_ms = 0, 0.0

    @property
    def device_busy(self) -> bool:
        """Whether the device still holds a run; OpenVINO's destructors would wait for it."""
        return self._pipeline.device_busy

    def run(self) -> None:
        """Pull and answer batches until SIGTERM or SIGINT; what is on the device then is still answered.

        Raises:
            Dismissal: Another worker took this one's place.
            GivenUp: The broker gave this one up, and no other took its place.
            DeviceStuck: The device finished nothing for ``timeouts.device_stuck`` s.
            WorkerError: The device cannot go on. In all these cases the broker has the batches back.
        """
        context = zmq.Context()
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # without a connection, send fails instead of queueing
        try:
            self._socket.connect(self._address)
            with StopSignal() as stop:
                self._heartbeat.ready(self._status_line())
                try:
                    self._loop(stop)
                except WorkerError as error:
                    self._send(WorkerBye(str(error), fault=True))
                    self._heartbeat.stopping(str(error))
                    raise
            self._send(WorkerBye("stopped"))
        finally:
            self._socket.close()
            context.term()

    def _loop(self, stop: StopSignal) -> None:
        poller = zmq.Poller()
        for wakened in (self._wakened, stop):
            poller.register(wakened, zmq.POLLIN)
        while not self._stopped(stop):
            # Writable means connected; asked only while a broker is looked for, or every poll would return at once.
            poller.register(self._socket, zmq.POLLIN | zmq.POLLOUT if self._hello_due else zmq.POLLIN)
            ready = dict(poller.poll(self._timeout_ms()))
            if self._wakened.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wakened.recv(4096)
            if stop.fileno() in ready:
                stop.clear()
                if self._stop_at is None:
                    self._stop_at = time.monotonic() + DRAIN_S
                    self._heartbeat.stopping("stopping: finishing what the device holds")
            self._finish_jobs()
            if ready.get(self._socket, 0) & zmq.POLLIN:
                self._read()
            if self._hello_due and ready.get(self._socket, 0) & zmq.POLLOUT:
                self._say_hello()
            now = time.monotonic()
            self._end_if_stuck(now)
            if not stop.count:
                self._pull_if_due(now)
                self._warm_up.advance(now, idle=self._pipeline.idle)
            if now - self._last_sent >= self._progress_s():
                self._speak(now)
            self._heartbeat.beat(now, self._status_line)

    def _end_if_stuck(self, now: float) -> None:
        stalled_ms = self._pipeline.stalled_ms(now)
        if stalled_ms > self._timeouts.device_stuck * 1000:
            raise DeviceStuck(f"the {self._hello.device} has finished nothing for {stalled_ms / 1000:.0f} s")

    def _stopped(self, stop: StopSignal) -> bool:
        if self._stop_at is None:
            return False
        monitor = self._monitor
        answered = self._pipeline.idle and (monitor is None or monitor.idle)
        return answered or stop.count > 1 or time.monotonic() >= self._stop_at

    def _status_line(self) -> str:
        hello, now = self._hello, time.monotonic()
        if not self._welcomed:
            state = "waiting for the broker"
        elif (stalled := self._pipeline.stalled_ms(now)) > 1000:
            state = f"the device has finished nothing for {stalled / 1000:.0f} s"
        else:
            state = "idle" if self._pipeline.idle else "busy"
        if progress := self._device.progress():
            state += f", {progress}"
        rate = f" at {self._pairs / self._device_ms * 1000:.0f} pairs/s" if self._device_ms else ""
        return f"{hello.model} on {hello.device} ({hello.precision}): {state}, {self._pairs} pairs so far{rate}"

    def _timeout_ms(self) -> int:
        now = time.monotonic()
        wait_ms = (self._last_sent + self._progress_s() - now) * 1000
        if (due := self._heartbeat.next_wakeup()) is not None:
            wait_ms = min(wait_ms, (due - now) * 1000)
        monitor = self._monitor
        if monitor is not None and (seconds := monitor.due_in(now)) is not None:
            wait_ms = min(wait_ms, seconds * 1000)
        if self._pipeline.idle and (seconds := self._warm_up.due_in(now)) is not None:
            wait_ms = min(wait_ms, seconds * 1000)
        if self._welcomed and not self._pulling and self._stop_at is None:
            wait_ms = min(wait_ms, self._pipeline.free_in_ms(now) - LEAD_MS)
        return max(0, int(wait_ms) + 1)

    def _speak(self, now: float) -> None:
        """Report that the loop runs; before the broker's welcome, repeat the hello."""
        if self._monitor is not None:
            self._monitor.look_if_idle(now)
        if not self._welcomed:
            self._hello_due = self._hello_due or now - self._hello_sent >= HELLO_AGAIN_S
            self._last_sent = now
            return
        if (details := self._device.details()) != self._hello.details:
            buckets = list(self._device.buckets)
            self._send(WorkerState(details, buckets if buckets != self._hello.buckets else None))
            self._hello = msgspec.structs.replace(self._hello, details=details, buckets=buckets)
        self._send(Progress(self._pipeline.stalled_ms(now)))

    def _progress_s(self) -> float:
        if self._pipeline.device_busy or not self._pipeline.idle:
            return BUSY_PROGRESS_S
        return IDLE_PROGRESS_S if self._welcomed else HELLO_AGAIN_S

    def _pull_if_due(self, now: float) -> None:
        if self._welcomed and not self._pulling and self._pipeline.free_in_ms(now) <= LEAD_MS:
            self._pulling = True
            self._send(Pull())

    def _finish_jobs(self) -> None:
        """Answer what is done; where busy time is monitored, once the batch's rise is known."""
        now = time.monotonic()
        monitor = self._monitor
        for job in self._pipeline.advance(now):
            if monitor is None or job.failed:
                self._answer(job, None)
            else:
                self._ended[job.number] = job
                monitor.end(job.number, worked=job.worked)
        if monitor is not None:
            for number, rise_us in monitor.settle(now):
                if (ended := self._ended.pop(number, None)) is not None:  # None: sending the one before lost the broker
                    self._answer(ended, rise_us)
        self._device.check()

    def _answer(self, job: Job, npu_busy_delta_us: int | None) -> None:
        monitor = self._monitor
        answer = job.answer(npu_busy_delta_us, 0 if monitor is None else monitor.total_us)
        if isinstance(answer, BatchResult):
            self._pairs += len(answer.logits)
            self._device_ms += answer.inference_ms
            logger.debug("batch %d: %d pairs in %.1f ms", answer.batch, len(answer.logits), answer.inference_ms)
        self._send(answer)

    def _read(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
                try:
                    message = decode_for_worker(frames)
                except InvalidRequest as error:
                    logger.warning("the broker sent a malformed message: %s", error)
                    continue
                self._take(message)

    def _take(self, message: BrokerToWorker) -> None:
        match message:
            case WorkerWelcome(epoch=epoch) if not self._welcomed:
                logger.info("serving broker %s", epoch)
                self._welcomed = True
            case Batch():
                self._pulling = False
                job = Job(message, self._tokenizer, self._device)
                if self._monitor is not None:
                    self._monitor.begin(job.number)
                self._pipeline.add(job, time.monotonic())
                self._finish_jobs()  # a batch of refused pairs is done at once
            case WhoAreYou() if self._welcomed:  # else the hello is on its way
                logger.info("the broker was restarted")
                self._forget_broker()
            case Dismissed(reason=reason, replaced=replaced):
                if replaced:
                    raise Dismissal(reason)
                raise GivenUp(f"the broker gave this worker up: {reason}")

    def _forget_broker(self) -> None:
        """Drop the work of a broker that is gone, or does not know us: the next one does not want it."""
        self._pipeline.abandon()
        if self._monitor is not None:
            self._monitor.forget()
            self._ended.clear()
        self._hello_due = True
        self._welcomed = self._pulling = False

    def _say_hello(self) -> None:
        self._hello_due, self._hello_sent = False, time.monotonic()
        self._send(self._hello)

    def _send(self, message: Message) -> None:
        self._last_sent = time.monotonic()
        try:
            self._socket.send_multipart(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            if self._welcomed:
                logger.warning("the broker at %s went away; waiting for the next one", self._address)
            self._forget_broker()

    def _wake(self) -> None:
        """Wake the poll, from a thread of OpenVINO's."""
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0")
