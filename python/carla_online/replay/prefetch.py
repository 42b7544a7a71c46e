"""Batches made ready in the background."""

from __future__ import annotations

import queue
import threading
import time
from types import TracebackType
from typing import Protocol

from carla_online.errors import ReplayClosed, ReplayError
from carla_online.replay.batch import ReplayBatch


class BatchSampler(Protocol):
    """What can be prefetched: `ReplaySampler`, `WindowSampler`, `MixtureSampler`."""

    def allocate(self, rows: int, *, pin: bool = False) -> ReplayBatch:
        """Allocate the arrays of a batch."""

    def sample_into(self, out: ReplayBatch, *, watermark: int | None = None) -> None:
        """Fill them."""


class PrefetchingSampler:
    """Fills batches in a thread of its own, without the interpreter, while the caller computes.

    A batch is asked for before it is needed, with the watermark that it shall have, so what is drawn is what the
    sampler alone would draw:

    ```python
    with PrefetchingSampler(sampler, rows=256, depth=2) as prefetcher:
        prefetcher.request(watermark)
        for _ in range(updates):
            prefetcher.request(watermark)      # the next one is filled while this one is learnt from
            learner.update(prefetcher.take())
    print(prefetcher.waited_s)                 # what the thread couldn't hide
    ```

    While it is open, the sampler belongs to it: use neither from elsewhere. One caller's thread may use it.
    """

    def __init__(self, sampler: BatchSampler, *, rows: int, depth: int = 2, pin: bool = False) -> None:
        """Allocate the batches and start the thread.

        Args:
            sampler: Draws the batches.
            rows: Rows of a batch (windows, for a `WindowSampler`).
            depth: Batches that can be requested ahead, at least 1; one more is allocated, the one being used.
            pin: As for `ReplaySampler.allocate`.

        Raises:
            ReplayError: `rows` or `depth` is below 1.
        """
        if depth < 1:
            raise ReplayError(f"depth is {depth}; at least one batch must be made ready")
        self._sampler = sampler
        self._depth = depth
        self._free: queue.SimpleQueue[ReplayBatch] = queue.SimpleQueue()
        for _ in range(depth + 1):
            self._free.put(sampler.allocate(rows, pin=pin))
        self._requests: queue.SimpleQueue[tuple[int | None] | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[ReplayBatch | BaseException] = queue.SimpleQueue()
        self._in_use: ReplayBatch | None = None
        self._requested = 0
        self._waited_s = 0.0
        self._thread: threading.Thread | None = threading.Thread(target=self._fill, name="replay-prefetch", daemon=True)
        self._thread.start()

    @property
    def waited_s(self) -> float:
        """Seconds that `take` has waited for batches, in all."""
        return self._waited_s

    @property
    def requested(self) -> int:
        """Batches requested and not yet taken."""
        return self._requested

    def request(self, watermark: int | None = None) -> None:
        """Ask for the next batch, with that watermark.

        Raises:
            ReplayError: `depth` batches are under way already.
            ReplayClosed: It was closed.
        """
        self._require_open()
        if self._requested >= self._depth:
            raise ReplayError(f"{self._requested} batches are requested already; take one first, or raise depth")
        self._requested += 1
        self._requests.put((watermark,))

    def take(self) -> ReplayBatch:
        """Return the batch that was requested first; its arrays are valid until the next `take`.

        Raises:
            ReplayError: No batch was requested, or as `ReplaySampler.sample_into`.
            ReplayClosed: It was closed.
        """
        self._require_open()
        if self._requested == 0:
            raise ReplayError("no batch was requested; call request() first")
        if self._in_use is not None:
            self._free.put(self._in_use)
            self._in_use = None
        started = time.perf_counter()
        result = self._ready.get()
        self._waited_s += time.perf_counter() - started
        self._requested -= 1
        if isinstance(result, BaseException):
            raise result
        self._in_use = result
        return result

    def close(self) -> None:
        """End the thread. The sampler stands behind the last batch that was requested."""
        if self._thread is not None:
            self._requests.put(None)
            self._thread.join()
            self._thread = None

    def _require_open(self) -> None:
        if self._thread is None:
            raise ReplayClosed("the prefetching sampler was closed; make another one")

    def _fill(self) -> None:
        while (request := self._requests.get()) is not None:
            batch = self._free.get()
            try:
                self._sampler.sample_into(batch, watermark=request[0])
            except BaseException as error:
                self._free.put(batch)
                self._ready.put(error)
            else:
                self._ready.put(batch)

    def __enter__(self) -> PrefetchingSampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
