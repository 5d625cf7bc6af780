"""Worker threads that a run can leave behind when they hang."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

__all__ = ["Workers"]

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """A pool of daemon threads.

    `concurrent.futures.ThreadPoolExecutor` joins its threads when Python ends; this pool does not. Nothing can end a
    thread that waits for a dead network share, so a run must be able to end without it.

    Parameters
    ----------
    count
        Number of threads.
    name
        Beginning of the threads' names.

    Attributes
    ----------
    threads
        The threads.
    closed
        Set by `close`; long tasks check it now and then, and give up when it is set.
    """

    def __init__(self, count: int, name: str) -> None:
        self._tasks: queue.SimpleQueue[Callable[[bool], None] | None] = queue.SimpleQueue()
        self.closed = threading.Event()
        self._guard = threading.Lock()
        self.threads = [threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def submit(self, function: Callable[[T], R], item: T) -> Future[R]:
        """Call ``function`` in one of the threads; after `close`, the result is cancelled."""
        future: Future[R] = Future()
        with self._guard:
            if self.closed.is_set():
                future.cancel()
            else:
                self._tasks.put(partial(_fulfil, future, function, item))
        return future

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield results in the order of the items, all of which are submitted at once."""
        futures = [self.submit(function, item) for item in items]
        return (future.result() for future in futures)

    def ahead(self, function: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
        """Yield results in the order of the items, computed up to ``most`` items ahead of the one in use."""
        pending: deque[Future[R]] = deque()
        for item in items:
            pending.append(self.submit(function, item))
            if len(pending) > most:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def close(self) -> None:
        """Cancel the tasks that no thread has begun, and let the threads end."""
        with self._guard:
            self.closed.set()
            for _ in self.threads:
                self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task(self.closed.is_set())
            del task  # the batch in it must not stay in memory while the thread waits


def _fulfil(future: Future[R], function: Callable[[T], R], item: T, cancelled: bool) -> None:
    if cancelled:
        future.cancel()
        return
    try:
        future.set_result(function(item))
    except BaseException as error:  # noqa: BLE001  (the result raises it again)
        future.set_exception(error)
