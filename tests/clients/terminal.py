"""A program in a terminal of its own: python terminal.py ROWS COLUMNS PROGRAM [ARGUMENT ...]

What the terminal is told to show goes to standard output, byte for byte; what comes in on standard input is typed. Ends
with the program's exit status, or with 99 when the program leaves the settings of the terminal other than it found them.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios

OTHER_SETTINGS = 99
# How soon the end of the program is seen, and how long what it showed last may take to come through.
LOOK_S = 0.05
LAST_S = 0.3


def show(terminal):
    os.write(sys.stdout.fileno(), os.read(terminal, 1 << 16))


def main():
    rows, columns = map(int, sys.argv[1:3])
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    before = termios.tcgetattr(its)
    program = subprocess.Popen(sys.argv[3:], stdin=its, stdout=its, stderr=its, start_new_session=True,
                               # Only so does Ctrl-C reach it as a signal.
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    keys = sys.stdin.fileno()
    sources = [ours, keys]
    while program.poll() is None:
        ready = select.select(sources, [], [], LOOK_S)[0]
        if ours in ready:
            show(ours)
        if keys in ready:
            typed = os.read(keys, 1024)
            if typed:
                os.write(ours, typed)
            else:
                sources.remove(keys)
    while select.select([ours], [], [], LAST_S)[0]:
        show(ours)
    if termios.tcgetattr(its) != before:
        print(f"the settings were {before}, and are {termios.tcgetattr(its)}", file=sys.stderr)
        return OTHER_SETTINGS
    status = program.returncode
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
