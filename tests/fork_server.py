"""A process that has imported Keras and used nothing of it; it runs each of its programs in a fork.

To import TensorFlow takes six CPU seconds, and to fork a process that has done so a tenth of one.
The lines that come in are programs, JSON objects; those that go out are their exit statuses and
CPU seconds. The first of these says what the start took.
"""

import json
import os
import sys
import traceback


def _run(program: dict) -> None:
    """Does in a child what `python -c CODE ARGUMENTS` does."""
    os.environ.clear()
    os.environ.update(program["environment"])
    os.chdir(program["folder"])
    files = (os.devnull, "rb"), (program["stdout"], "wb"), (program["stderr"], "wb")
    for number, file in enumerate(files):
        with open(*file) as opened:
            os.dup2(opened.fileno(), number)
    sys.argv = ["-c", *program["arguments"]]
    sys.path[:1] = ["", *os.environ["PYTHONPATH"].split(os.pathsep)]
    status = 1
    try:
        exec(compile(program["code"], "<string>", "exec"), {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # What libraries print goes where their errors go.
        import keras  # noqa: F401

        times = os.times()
        print(json.dumps([0, times.user + times.system]), file=answers, flush=True)
        for line in sys.stdin:
            child = os.fork()
            if not child:
                _run(json.loads(line))
            _, status, usage = os.wait4(child, 0)
            answer = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime]
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
