"""Processor time and resident memory of families of processes, from /proc."""
import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """The fields of /proc/PID/stat after the name, which may hold blanks; None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None


def cpu_seconds(pid):
    fields = stat(pid)
    return 0.0 if fields is None else (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid):
    """Resident MB: the process's own (anonymous), and files and shared memory it has mapped."""
    own = mapped = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                own = int(line.split()[1])
            elif line.startswith(("RssFile:", "RssShmem:")):
                mapped += int(line.split()[1])
    except OSError:
        pass
    return own / 1024, mapped / 1024


def words(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


class Group:
    """Named processes and all their descendants; a role of a daemon counts under its own name."""

    def __init__(self, roots):
        self.roots = roots
        self.gone = {}      # name -> seconds of processes that have ended since
        self.last = {}      # pid -> (name, seconds) when last seen

    def members(self):
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                fields = stat(entry)
                if fields is not None:
                    parents.setdefault(int(fields[1]), []).append(int(entry))
        found = {}
        todo = [(pid, name) for name, pid in self.roots.items()]
        while todo:
            pid, name = todo.pop()
            command = words(pid)
            if b"--role" in command[:2]:
                name = f"{name.split(' ')[0]} {command[2].decode()}"
            found[pid] = name
            todo += [(child, name) for child in parents.get(pid, [])]
        return found

    def cpu(self):
        """Seconds by name since each process began; what ended processes used stays counted as last seen."""
        now = {pid: (name, cpu_seconds(pid)) for pid, name in self.members().items()}
        for pid, (name, seconds) in self.last.items():
            if pid not in now:
                self.gone[name] = self.gone.get(name, 0) + seconds
        self.last = now
        total = dict(self.gone)
        for name, seconds in now.values():
            total[name] = total.get(name, 0) + seconds
        return total

    def memory(self):
        """
        Resident MB by name: the largest process of that name. "NAME in all": everything a server's processes have of
        their own, and once the largest of what they map: program, libraries and shared buffers are the same pages in each.
        """
        largest, own, mapped = {}, {}, {}
        for pid, name in self.members().items():
            mine, files = memory(pid)
            server = name.split(" ")[0]
            largest[name] = max(largest.get(name, 0), mine + files)
            own[server] = own.get(server, 0) + mine
            mapped[server] = max(mapped.get(server, 0), files)
        for server in own:
            largest[f"{server} in all"] = own[server] + mapped[server]
        return largest
