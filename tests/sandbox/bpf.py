"""Runs seccomp filters as the kernel would: whether a system call would be allowed, without making it. Filters are those of a running process, or of one on another machine."""
import errno
import functools
import struct
import subprocess

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
X86_64, AARCH64 = 0xC000003E, 0xC00000B7


def load(inject, pid):
    """Every filter of a process, each a list of (code, jt, jf, k)."""
    lines = subprocess.run([inject, str(pid), "--filters"], capture_output=True, text=True, check=True).stdout.split()
    return [unpack(bytes.fromhex(line)) for line in lines]


def run(program, data):
    """One filter; what it says: an action of 32 bits."""
    a = x = at = 0
    memory = [0] * 16
    while True:
        code, yes, no, k = program[at]
        at += 1
        size, source = code & 0x18, x if code & 0x08 else k
        kind, operation = code & 0x07, code & 0xF0
        if kind == 0x06:
            return a if size == 0x10 else k
        if kind == 0x05:
            if operation == 0x00:
                at += k
                continue
            true = {0x10: a == source, 0x20: a > source, 0x30: a >= source, 0x40: bool(a & source)}[operation]
            at += yes if true else no
        elif code == 0x20:
            a = struct.unpack_from("<I", data, k)[0]
        elif code in (0x00, 0x01):
            a, x = (k, x) if code == 0x00 else (a, k)
        elif code == 0x60:
            a = memory[k]
        elif code == 0x61:
            x = memory[k]
        elif code == 0x02:
            memory[k] = a
        elif code == 0x03:
            memory[k] = x
        elif kind == 0x04 and operation in (0x50, 0x40):
            a = a & source if operation == 0x50 else a | source
        elif kind == 0x07:
            a, x = (a, a) if operation == 0x00 else (x, x)
        else:
            raise NotImplementedError(hex(code))


def unpack(code):
    """A filter's bytes as a list of (code, jt, jf, k)."""
    return list(struct.iter_unpack("<HBBI", code))


@functools.cache
def library():
    """The library that made the filters."""
    import ctypes
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    return lib


@functools.cache
def number_on(architecture, call):
    """The system call's number on such a machine; below zero: it has none."""
    return library().seccomp_syscall_resolve_name_arch(architecture, call.encode())


@functools.cache
def calls_of(architecture):
    """{name: number} of all system calls of such a machine."""
    import ctypes
    found = {}
    for number in range(600):
        name = library().seccomp_syscall_resolve_num_arch(architecture, number)
        if name:
            found[ctypes.string_at(name).decode()] = number
    return found


@functools.cache
def number_of(call):
    """The system call's number on this machine."""
    number = library().seccomp_syscall_resolve_name(call.encode())
    assert number >= 0, call
    return number


def verdict(filters, call, *arguments, architecture=X86_64, number=None):
    """"killed", "allowed" or "refused NAME": the strictest of all filters. `number`: the call's, when it is not this machine's."""
    words = [value & (1 << 64) - 1 for value in arguments] + [0] * (6 - len(arguments))
    data = struct.pack("<IIQ6Q", number_of(call) if number is None else number, architecture, 0, *words)
    actions = [run(program, data) for program in filters]
    if any(action & 0xFFFF0000 == KILL for action in actions):
        return "killed"
    refused = [action & 0xFFFF for action in actions if action & 0xFFFF0000 == ERRNO]
    if refused:
        return "refused " + errno.errorcode[refused[0]]
    assert all(action == ALLOW for action in actions), [hex(action) for action in actions]
    return "allowed"
