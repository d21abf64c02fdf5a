"""Stands in for the service manager: listens on NOTIFY_SOCKET and writes what it is told, one line each.

Usage: listen-notify.py SOCKET FILE
"""

import os
import socket
import sys

path, out = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(path)
os.chmod(path, 0o666)
with open(out, "w", buffering=1) as heard:
    while True:
        heard.write(listener.recv(65536).decode() + "\n")
