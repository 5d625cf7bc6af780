"""The sandbox of a decoder: a process in it can only compute, read files that are already open, and answer.

Decoders parse hostile files with libraries written in C. A file that takes over a decoder gains a process that cannot
open a file, reach a network, start a program or signal another process. Linux enforces this by a seccomp filter, for
root and ordinary users alike, also in containers: every system call that is not listed here fails with EPERM
(`seccomp(2)`).
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import struct

__all__ = ["CPU_SECONDS", "MEMORY", "SECONDS", "SandboxError", "enter_sandbox", "limit_resources"]

CPU_SECONDS = 60.0
"""Seconds of processor time that one picture may take."""

SECONDS = 300.0
"""Seconds of wall-clock time that one picture may take; a network share may stall."""

MEMORY = 3 << 30
"""Bytes of memory that a decoder may use: twice the need of the largest picture that is decoded."""

_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_ALL_THREADS = 1

# Classic BPF: the instructions used here, and the offsets in `struct seccomp_data` of what they examine.
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16
_ALLOW, _FAIL_WITH = 0x7FFF0000, 0x00050000

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Machines by name: AUDIT_ARCH, and which of the two numbers below applies. Both machines are little-endian."""

_Numbers = tuple[int | None, int | None]

_ALLOWED: dict[str, _Numbers] = {
    # files that are already open: the picture, the pixels, the lock, the connection
    "read": (0, 63), "readv": (19, 65), "pread64": (17, 67), "preadv": (295, 69),
    "write": (1, 64), "writev": (20, 66), "pwrite64": (18, 68), "pwritev": (296, 70),
    "lseek": (8, 62), "fstat": (5, 80), "newfstatat": (262, 79), "dup": (32, 23), "close": (3, 57),
    "recvmsg": (47, 212), "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    # memory
    "brk": (12, 214), "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226),
    "madvise": (28, 233), "mincore": (27, 232), "membarrier": (324, 283),
    # the threads of codecs
    "futex": (202, 98), "set_robust_list": (273, 99), "rseq": (334, 293), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "getcpu": (309, 168), "gettid": (186, 178), "exit": (60, 93),
    # signals, clocks, and facts about the process itself
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "setitimer": (38, 103), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "times": (100, 153), "getpid": (39, 172), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getrusage": (98, 165), "sysinfo": (99, 179), "uname": (63, 160),
    "getrandom": (318, 278), "arch_prctl": (158, None), "exit_group": (231, 94),
}  # fmt: skip

_CLONE, _CLONE3, _TGKILL, _FCNTL, _PRCTL, _SECCOMP = (56, 220), (435, 435), (234, 131), (72, 25), (157, 167), (317, 277)
_CLONE_THREAD = 0x00010000
_LOCK, _LOCK_AND_WAIT, _DUPLICATE = 6, 7, 1030
_NAME_A_THREAD = 15


class SandboxError(OSError):
    """The kernel offers no such sandbox, or this module does not know the machine's system calls."""


def limit_resources() -> None:
    """Limit this process to `MEMORY`, and disable core dumps, which would contain pixels of evidence."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # the system's own limit is lower and stays in force
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def enter_sandbox() -> None:
    """Confine this process and all its threads until it ends; it must already have imported everything it needs.

    Raises
    ------
    SandboxError
        When this machine has no such sandbox.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _require(libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    machine = platform.machine()
    if machine not in _MACHINES or ctypes.sizeof(ctypes.c_void_p) != 8:  # noqa: PLR2004
        raise SandboxError(errno.ENOSYS, f"simquery does not know the system calls of {machine}")
    architecture, column = _MACHINES[machine]
    program = _program(architecture, column)
    code = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("HP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    _require(libc.syscall(ctypes.c_long(_SECCOMP[column]), _SET_MODE_FILTER, _ALL_THREADS, described), "a filter")


def _program(architecture: int, column: int) -> bytes:
    """Return the filter as instructions of eight bytes each; a call that reaches the last instruction is refused."""
    steps = [
        (_LOAD, 0, 0, _MACHINE),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _FAIL_WITH | errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        # clone3 hides its flags from a filter; the C library falls back to clone if clone3 does not exist.
        (_JUMP_IF_EQUAL, 0, 1, _CLONE3[column]),
        (_RETURN, 0, 0, _FAIL_WITH | errno.ENOSYS),
    ]
    for numbers in _ALLOWED.values():
        if (number := numbers[column]) is not None:
            steps += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for call, argument, test, value in (
        (_CLONE, 0, _JUMP_IF_SET, _CLONE_THREAD),  # threads, not processes
        (_TGKILL, 0, _JUMP_IF_EQUAL, os.getpid()),  # abort() may end this process only
        (_PRCTL, 0, _JUMP_IF_EQUAL, _NAME_A_THREAD),
        *((_FCNTL, 1, _JUMP_IF_EQUAL, command) for command in (_LOCK, _LOCK_AND_WAIT, _DUPLICATE)),
    ):
        steps += [
            (_JUMP_IF_EQUAL, 0, 3, call[column]),
            (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
            (test, 0, 1, value),
            (_RETURN, 0, 0, _ALLOW),
            (_LOAD, 0, 0, _NUMBER),
        ]
    steps.append((_RETURN, 0, 0, _FAIL_WITH | errno.EPERM))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _require(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise SandboxError(number, f"the kernel refuses {what}: {os.strerror(number)}")
