"""Items of an iterator made ahead of time by a thread, while the consumer is busy with the ones before."""

import collections
import contextlib
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

from edgekd.errors import RecipeError

T = TypeVar("T")


def prefetched(iterable: Iterable[T], *, depth: int = 2) -> Generator[T, None, None]:
    """Yields an iterator's items in order, up to `depth` of which a background thread holds ready.

    The thread starts with the first item that is asked for. It ends with the iterator, or when the generator is closed,
    be it by garbage collection after an exception in the consumer; closing waits for the item that is being made. The
    iterator is only ever touched, and closed, in that thread.

    It pays where making an item releases Python's lock, as NumPy does for the large part of a batch, or where the
    consumer waits for a device.

    Args:
      iterable: gives the items; whatever it raises is raised at the consumer, after the items before it.
      depth: how many items are made ahead, 1 or more: each holds its memory.

    Raises:
      RecipeError: a depth below 1.
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise RecipeError(f"prefetch depth is {depth!r}: expected 1 or more.")
    return _consumed(iterable, depth)


def _consumed(iterable: Iterable[T], depth: int) -> Generator[T, None, None]:
    shelf = _Shelf[T](depth)
    # A daemon, so that a generator which nobody closed cannot keep the process from exiting.
    thread = threading.Thread(target=_fill, args=(shelf, iterable), name="edgekd-prefetch", daemon=True)
    try:
        thread.start()
        yield from shelf
    finally:
        shelf.close()
        # Garbage collection runs in whichever thread allocates: it may be that one.
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join()


def _fill(shelf: "_Shelf[T]", iterable: Iterable[T]) -> None:
    try:
        iterator = iter(iterable)
        with contextlib.closing(iterator) if isinstance(iterator, Generator) else contextlib.nullcontext():
            while shelf.wait_for_room():
                try:
                    shelf.put(next(iterator))
                except StopIteration:
                    break
    except BaseException as error:  # not handled here: the consumer gets it
        shelf.end(error)
    else:
        shelf.end()


class _Shelf(Generic[T]):
    """Items between one producer and one consumer; no more than `depth` at a time."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: collections.deque[T] = collections.deque()
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None

    def wait_for_room(self) -> bool:
        """Waits until another item may be made; returns False when the consumer has gone and none is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            return not self._closed

    def put(self, item: T) -> None:
        """Adds an item, unless the consumer has gone."""
        with self._changed:
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Says that no further item comes, and why."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Says that no further item is wanted, and lets go of those that are ready."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or bool(self._items))
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
            del item  # or it would stay in memory while the next one is waited for
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame, which would keep both alive
