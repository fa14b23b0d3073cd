"""Which TCP sockets processes listen on, from /proc."""
import os
import pathlib
import socket
import struct


def listeners(pids):
    """(pid, address) of every TCP socket on which one of the processes listens."""
    inodes = {}
    for pid in pids:
        for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes[target[8:-1]] = pid
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] != "0A" or fields[9] not in inodes:
                continue
            raw = bytes.fromhex(fields[1].split(":")[0])
            packed = b"".join(struct.pack("!I", struct.unpack("=I", raw[i:i + 4])[0]) for i in range(0, len(raw), 4))
            found.append((inodes[fields[9]], socket.inet_ntop(family, packed)))
    return found
