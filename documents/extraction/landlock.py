"""Landlock (Linux 5.13 and later): what of the file system, and of TCP, the child and its programs may still reach.

A parser that was taken over runs as the worker's user. Without this it could read that user's files: the settings, the
database of an embedded installation, other tenants' documents. Constants and structures are those of
linux/landlock.h; the system calls have no wrapper in the C library.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_SOCK = 1 << 9
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_ALL_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_SINCE_5 = (1 << 16) - 1
_TCP = 0b11
_SCOPES = 0b11
_READ = _READ_FILE | _READ_DIR | _EXECUTE

# Libraries, programs, fonts and what they read of the system. Not /etc as a whole, /home, /root, /srv, /var or /run.
_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/nix/store", "/proc", "/sys/devices/system",
    "/sys/fs/cgroup", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/fonts", "/etc/libreoffice",
    "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group",
    "/etc/paperspecs", "/etc/papersize", "/etc/alternatives", "/etc/java", "/etc/catdocrc", "/etc/unrtf",
    "/etc/ImageMagick-6", "/var/cache/fontconfig", "/var/lib/libreoffice",
    "/var/spool/libreoffice", "/etc/locale.alias",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random", "/dev/tty")


def restrict(*, readable: Iterable[Path], listable: Iterable[Path], writable: Iterable[Path], network: bool) -> str:
    """Confine this process and all it starts. Returns "granted" or why not.

    Everything below a `readable` path may be read and run, below a `listable` one only directories may be listed,
    below a `writable` one everything. `network` False also refuses TCP, where the kernel knows how (6.7).
    """
    if sys.platform != "linux":
        return "refused: not on this system"
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        return f"refused: {os.strerror(ctypes.get_errno())}"
    rights = _ALL_RIGHTS.get(version, _ALL_SINCE_5)
    attribute = struct.pack("<Q", rights)
    if version >= 4:
        attribute += struct.pack("<Q", 0 if network else _TCP)
    if version >= 6:
        attribute += struct.pack("<Q", _SCOPES)
    ruleset = libc.syscall(_CREATE_RULESET, attribute, ctypes.c_size_t(len(attribute)), 0)
    if ruleset < 0:
        return f"refused: {os.strerror(ctypes.get_errno())}"
    try:
        for path in (*map(Path, _SYSTEM), *readable):
            _allow(libc, ruleset, path, _READ & rights)
        for path in listable:
            _allow(libc, ruleset, path, _READ_DIR)
        for path in map(Path, _DEVICES):
            _allow(libc, ruleset, path, (_READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) & rights)
        # LibreOffice insists on a socket in /tmp. The parent removes it.
        _allow(libc, ruleset, Path("/tmp"), _MAKE_SOCK)  # noqa: S108  (its place, not our choice)
        for path in writable:
            _allow(libc, ruleset, path, rights)
        if libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
            return f"refused: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(ruleset)
    return "granted"


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Add one rule; a path that does not exist needs none."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        granted = rights if path.is_dir() else rights & _FILE_RIGHTS
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("<Qi", granted, descriptor), 0)
    finally:
        os.close(descriptor)
