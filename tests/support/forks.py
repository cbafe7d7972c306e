"""A program that has imported the command, and forks a process for each call of it.

A call begins at once, without the seconds that imports take, and ends as the command does. It reads
requests from its standard input, a JSON object a line, and answers each with a line.
"""

import json
import os
import signal
import sys

#: Name of the command: what is imported below is imported as in its process.
COMMAND = "eprop-brian"
#: What asks a process to end.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main():
    sys.argv = [COMMAND]
    import jax  # noqa: F401 - backends and their threads begin with the first use

    from eprop_brian.base.interrupts import answer_as_command
    from eprop_brian.cli import main as command
    from eprop_brian.figures import run  # noqa: F401
    from eprop_brian.runs import models, sweep  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        # They wait until the process answers them as the command does, with its own streams.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        process = os.fork()
        if process:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            print(process, flush=True)
            continue
        os.setsid()
        for name, number, mode in (("stdout", 1, os.O_WRONLY), ("stderr", 2, os.O_WRONLY)):
            os.dup2(os.open(request[name], mode | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        for number in SIGNALS:
            signal.signal(number, signal.default_int_handler)
        sys.argv = [COMMAND, *request["arguments"]]
        answer_as_command()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        sys.exit(command())


if __name__ == "__main__":
    main()
