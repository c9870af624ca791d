"""The worker's shell: one poll loop over the broker's socket, the device's wake-ups and the clock."""

import contextlib
import logging
import os
import socket
import time
from pathlib import Path

import zmq

from ..daemon.heartbeat import Heartbeat
from ..daemon.notify import Notifier
from ..daemon.standstill import StandstillDetector
from ..daemon.stop_signal import StopSignal
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
    WorkerWelcome,
)
from .broker_connection import BrokerConnection
from .device import Device
from .errors import DeviceStuck, WorkerDismissed, WorkerError
from .job import Job
from .npu.busy_monitor import BusyMonitor
from .pending_answers import PendingAnswers
from .pipeline import LEAD_MS, Pipeline
from .tokenization import PairTokenizer
from .warm_up import IdleWarmUp

logger = logging.getLogger("openvino_reranker.worker")

#: How often the worker sends something to the broker, s: busy and idle.
BUSY_PROGRESS_S = 0.25
IDLE_PROGRESS_S = 1.0
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
        self._answers = PendingAnswers(monitor)
        self._tokenizer = tokenizer
        hello = WorkerHello(
            pid=os.getpid(),
            model=model,
            device=device.name,
            precision=device.precision,
            max_length=tokenizer.max_length,
            budget_tokens=device.budget_tokens,
            buckets=list(device.buckets),
            details=device.details(),
        )
        self._broker = BrokerConnection(workers_socket, hello, self._drop_work)
        self._wakened, self._waker = socket.socketpair()
        self._wakened.setblocking(False)
        self._waker.setblocking(False)
        self._pipeline = Pipeline(device, self._wake)
        self._warm_up = IdleWarmUp(device, self._wake, time.monotonic())
        self._pulling = False
        self._heartbeat = Heartbeat(notifier)
        self._standstill = StandstillDetector(time.monotonic())
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
            WorkerDismissed: The broker gave this one up, and no other took its place.
            DeviceStuck: The device finished nothing for ``timeouts.device_stuck`` s.
            WorkerError: The device cannot go on. In all these cases the broker has the batches back.
        """
        with self._broker as broker:
            with StopSignal() as stop:
                self._heartbeat.ready(self._status_line())
                try:
                    self._loop(stop)
                except WorkerError as error:
                    broker.send(WorkerBye(str(error), fault=True))
                    self._heartbeat.stopping(str(error))
                    raise
            broker.send(WorkerBye("stopped"))

    def _loop(self, stop: StopSignal) -> None:
        broker, poller = self._broker, zmq.Poller()
        for wakened in (self._wakened, stop):
            poller.register(wakened, zmq.POLLIN)
        while not self._stopped(stop):
            poller.register(broker.socket, broker.events)
            began, allowed_ms = time.monotonic(), self._timeout_ms()
            ready = dict(poller.poll(allowed_ms))
            self._note_standstill(waited=time.monotonic() - began, allowed=allowed_ms / 1000)
            if self._wakened.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wakened.recv(4096)
            if stop.fileno() in ready:
                stop.clear()
                if self._stop_at is None:
                    self._stop_at = time.monotonic() + DRAIN_S
                    self._heartbeat.stopping("stopping: finishing what the device holds")
            self._finish_jobs()
            if ready.get(broker.socket, 0) & zmq.POLLIN:
                for message in broker.read():
                    self._take(message)
            if ready.get(broker.socket, 0) & zmq.POLLOUT:
                broker.greet()
            now = self._note_standstill()
            self._end_if_stuck(now)
            if not stop.count:
                self._pull_if_due(now)
                self._warm_up.advance(now, idle=self._pipeline.idle)
            if now - broker.last_sent >= self._progress_s():
                self._speak(now)
            self._heartbeat.beat(now, self._status_line)

    def _note_standstill(self, waited: float = 0.0, allowed: float | None = None) -> float:
        """Return the time, s; after a standstill of our own the device is not blamed for it."""
        now = time.monotonic()
        if self._standstill.note(now, waited, allowed):
            self._pipeline.resume(now)
        return now

    def _end_if_stuck(self, now: float) -> None:
        stalled_ms = self._pipeline.stalled_ms(now)
        if stalled_ms > self._timeouts.device_stuck * 1000:
            raise DeviceStuck(f"the {self._device.name} has finished nothing for {stalled_ms / 1000:.0f} s")

    def _stopped(self, stop: StopSignal) -> bool:
        if self._stop_at is None:
            return False
        return (self._pipeline.idle and self._answers.idle) or stop.count > 1 or time.monotonic() >= self._stop_at

    def _status_line(self) -> str:
        hello, now = self._broker.hello, time.monotonic()
        if not self._broker.welcomed:
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
        wait_ms = (self._broker.last_sent + self._progress_s() - now) * 1000
        if (due := self._heartbeat.next_wakeup()) is not None:
            wait_ms = min(wait_ms, (due - now) * 1000)
        if (seconds := self._answers.due_in(now)) is not None:
            wait_ms = min(wait_ms, seconds * 1000)
        if self._pipeline.idle and (seconds := self._warm_up.due_in(now)) is not None:
            wait_ms = min(wait_ms, seconds * 1000)
        if self._broker.welcomed and not self._pulling and self._stop_at is None:
            wait_ms = min(wait_ms, self._pipeline.free_in_ms(now) - LEAD_MS)
        return max(0, int(wait_ms) + 1)

    def _speak(self, now: float) -> None:
        """Report that the loop runs; before the broker's welcome, repeat the hello."""
        self._answers.look_if_idle(now)
        if self._broker.welcomed:
            self._broker.update(self._device.details(), self._device.buckets)
            self._broker.send(Progress(self._pipeline.stalled_ms(now)))
        else:
            self._broker.greet_again(now)

    def _progress_s(self) -> float:
        if self._pipeline.device_busy or not self._pipeline.idle:
            return BUSY_PROGRESS_S
        return IDLE_PROGRESS_S if self._broker.welcomed else self._broker.hello_again_s

    def _pull_if_due(self, now: float) -> None:
        if self._broker.welcomed and not self._pulling and self._pipeline.free_in_ms(now) <= LEAD_MS:
            self._pulling = True
            self._broker.send(Pull())

    def _finish_jobs(self) -> None:
        """Answer what is done; where busy time is monitored, once the batch's rise is known."""
        now = time.monotonic()
        for answer in self._answers.take(self._pipeline.advance(now), now):
            if isinstance(answer, BatchResult):
                self._pairs += len(answer.logits)
                self._device_ms += answer.inference_ms
                logger.debug("batch %d: %d pairs in %.1f ms", answer.batch, len(answer.logits), answer.inference_ms)
            self._broker.send(answer)
        self._device.check()

    def _take(self, message: BrokerToWorker) -> None:
        match message:
            case WorkerWelcome(epoch=epoch):
                self._broker.note_welcome(epoch)
            case Batch():
                self._pulling = False
                job = Job(message, self._tokenizer, self._device)
                self._answers.begin(job)
                self._pipeline.add(job, time.monotonic())
                self._finish_jobs()  # a batch of refused pairs is done at once
            case WhoAreYou():
                self._broker.note_who_are_you()
            case Dismissed(reason=reason, replaced=replaced):
                if replaced:
                    raise Dismissal(reason)
                raise WorkerDismissed(f"the broker gave this worker up: {reason}")

    def _drop_work(self) -> None:
        """Drop the work of a broker that is gone, or does not know us: the next one does not want it."""
        self._pipeline.abandon()
        self._answers.forget()
        self._pulling = False

    def _wake(self) -> None:
        """Wake the poll, from a thread of OpenVINO's."""
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0")
