"""Noticing that this process was told to stop, although its web server handles the signal itself.

granian stops when every request has ended, and tells requests nothing: those that wait for a task would hold a restart
up for a minute. Python writes the number of each signal that it handles to a descriptor, whoever the handler is.
"""

from __future__ import annotations

import signal
import socket
import threading

_STOP = frozenset({signal.SIGTERM, signal.SIGINT})


class StopSignal:
    """True once SIGTERM or SIGINT has come. Says so from `watch` on; before that, nothing is known."""

    def __init__(self) -> None:
        self._reads: socket.socket | None = None
        self._writes: socket.socket | None = None
        self._came = False

    def watch(self) -> bool:
        """Begin to watch, from the process's main thread. False where that is not possible, or somebody else does."""
        if threading.current_thread() is not threading.main_thread():
            return False
        self._reads, self._writes = socket.socketpair()
        for end in (self._reads, self._writes):
            end.setblocking(False)
        other = signal.set_wakeup_fd(self._writes.fileno(), warn_on_full_buffer=False)
        if other != -1:  # an event loop's
            signal.set_wakeup_fd(other)
            return False
        return True

    def __call__(self) -> bool:
        if self._reads is not None and not self._came:
            try:
                self._came = any(number in _STOP for number in self._reads.recv(4096))
            except BlockingIOError:  # no signal has come
                return False
        return self._came


stop_signal = StopSignal()
"""This process's."""
