"""Open files, a few hundred at most: the one that was used longest ago is closed for the next."""

import collections
import os
import weakref

_MOST = 256


class OpenFiles:
    """Files that are open for reading, by path, until they are closed or the object is forgotten."""

    def __init__(self) -> None:
        self._handles: collections.OrderedDict[str, int] = collections.OrderedDict()
        weakref.finalize(self, _close, self._handles)

    def get(self, path: str) -> int | None:
        """Returns the handle of a file if it is open."""
        handle = self._handles.get(path)
        if handle is not None:
            self._handles.move_to_end(path)
        return handle

    def open(self, path: str) -> int:
        """Opens a file that is not open, and returns its handle."""
        if len(self._handles) >= _MOST:
            os.close(self._handles.popitem(last=False)[1])
        self._handles[path] = handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return handle

    def close(self) -> None:
        """Closes all of them."""
        _close(self._handles)


def _close(handles: collections.OrderedDict[str, int]) -> None:
    while handles:
        os.close(handles.popitem()[1])
