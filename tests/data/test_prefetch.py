import gc
import itertools
import subprocess
import sys
import threading
import time
import weakref

import pytest

from edgekd.data.prefetch import prefetched
from edgekd.errors import DataError, RecipeError

PATIENCE = 300  # seconds until a test gives up; none of them waits for a time to pass


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name == "edgekd-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert prefetch_threads() == []


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Watched:
    """Counts 0, 1, 2, ... and remembers how far it was asked, by which threads, and whether it was closed."""

    def __init__(self, end=None):
        self.end, self.made, self.threads, self.closed = end, 0, set(), False

    def __iter__(self):
        try:
            for number in itertools.count() if self.end is None else range(self.end):
                self.threads.add(threading.current_thread().name)
                self.made = number + 1
                yield number
        finally:
            self.closed = True


@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 5, 500])
def test_all_items_come_in_order(count, depth):
    assert list(prefetched(range(count), depth=depth)) == list(range(count))


def test_items_are_made_in_another_thread_ahead_of_the_consumer_and_no_more_than_the_depth():
    watched = Watched()
    items = prefetched(watched, depth=3)
    assert watched.made == 0
    for taken in range(1, 6):
        assert next(items) == taken - 1
        wait_until(lambda taken=taken: watched.made == taken + 3)
    assert watched.threads == {"edgekd-prefetch"}
    time.sleep(0.05)
    assert watched.made == 5 + 3
    items.close()
    assert watched.closed


def test_the_consumer_gets_the_error_of_the_iterator_after_the_items_before_it():
    def broken():
        yield 1
        yield 2
        raise DataError("sample 3 is damaged")

    received = []
    with pytest.raises(DataError, match="sample 3 is damaged") as caught:
        received.extend(prefetched(broken(), depth=5))
    assert "broken" in [entry.name for entry in caught.traceback]
    items = prefetched(broken(), depth=5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(DataError):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_an_iterable_that_cannot_be_iterated_is_an_error_and_no_hang():
    with pytest.raises(TypeError, match="not iterable"):
        next(prefetched(3))


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_closing_early_ends_the_thread_and_closes_the_iterator(taken):
    watched = Watched()
    items = prefetched(watched)
    for _ in range(taken):
        next(items)
    items.close()
    assert prefetch_threads() == []
    assert watched.closed is (taken > 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_in_the_consumer_ends_the_thread(error):
    watched = Watched()

    def consume():
        for item in prefetched(watched):
            if item == 2:
                raise error

    with pytest.raises(error) as caught:
        consume()
    del caught  # its traceback holds the loop and so the generator
    gc.collect()
    assert prefetch_threads() == []
    assert watched.closed


def test_an_interruption_while_waiting_for_an_item_ends_the_thread():
    # In a process of its own: the signal goes to the main thread while it waits inside next().
    code = """
import os, signal, threading, time
from edgekd.data.prefetch import prefetched
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's is to ignore it
go_on = threading.Event()
def slow():
    yield 1
    threading.Timer(0.2, lambda: (os.kill(os.getpid(), signal.SIGINT), go_on.set())).start()
    go_on.wait()
    time.sleep(0.2)
    yield 2
    time.sleep(1000)
items = prefetched(slow(), depth=1)
next(items)
try:
    next(items)
except KeyboardInterrupt:
    print("interrupted", [thread.name for thread in threading.enumerate() if thread.name == "edgekd-prefetch"])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE, capture_output=True, text=True)
    assert done.stdout == "interrupted []\n"


def test_a_process_ends_although_nobody_closed_the_generator():
    code = """
import itertools, sys
from edgekd.data.prefetch import prefetched
items = prefetched(itertools.count())
next(items)
sys.keep = items
raise KeyboardInterrupt
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE, capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr


def test_items_that_were_used_are_not_kept_while_the_next_one_is_made():
    class Item:
        pass

    alive = weakref.WeakSet()

    def items():
        for _ in range(5):
            wait_until(lambda: not alive)  # with a depth of 1, the one before has been taken and dropped by now
            item = Item()
            alive.add(item)
            yield item
            del item

    count = 0
    for item in prefetched(items(), depth=1):
        count += 1
        del item
    assert count == 5


@pytest.mark.parametrize("depth", [0, -1, 1.5, True])
def test_a_depth_below_one_is_refused(depth):
    with pytest.raises(RecipeError, match="prefetch depth is"):
        prefetched([], depth=depth)
