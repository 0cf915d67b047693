"""The worker's side: it waits for the word to go, does one unit of work, and says how long it took.

All workers of a case are made ready first and then take turns, so that what disturbs the machine
disturbs all of them alike.
"""

import json
import os
import resource
import sys
import time

__all__ = ["Gate"]


class Gate:
    """Talks to the runner over what were standard input and output.

    Args:
        count: int. Units of work of a turn.
        sgemm: callable. Multiplies two float32 matrices of 2048 × 2048 and waits for the result.

    Attributes:
        facts: dict of str to float. What is said of the process beside its memory.
    """

    def __init__(self, count: int, sgemm):
        self.count, self._sgemm = count, sgemm
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # Whatever a library prints goes where the errors go.
        self._ready, self.facts = False, {}

    def wait(self, took: dict | None = None) -> None:
        """Blocks until the next turn; ends the process when there is none.

        Args:
            took: dict. The `seconds` and `cpu` of the turn that is over, where another process did
                its work.
        """
        if self._ready:
            own = {
                "seconds": time.perf_counter() - self._start,
                "cpu": time.process_time() - self._cpu,
            }
            self._say(**(took or own), count=self.count)
        else:
            self._ready = True
            self._say(ready=True)
        while True:
            word = sys.stdin.readline().strip()
            if word == "sgemm":
                self._say(gflops=self._gflops())
            elif word == "memory":
                self._say(
                    mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **self.facts
                )
            elif word == "go":
                break
            else:
                self._out.close()
                os._exit(0)
        self._cpu = time.process_time()
        self._start = time.perf_counter()

    def repeat(self, work) -> None:
        """Does `work()` at each turn."""
        while True:
            self.wait()
            work()

    def _gflops(self) -> dict:
        self._sgemm()
        seconds, cpu = [], []
        for _ in range(3):
            start, before = time.perf_counter(), time.process_time()
            self._sgemm()
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - before)
        work = 2 * 2048**3 / 1e9
        return {"wall": work / min(seconds), "cpu": work / max(min(cpu), 1e-9)}

    def _say(self, **facts) -> None:
        self._out.write(json.dumps(facts) + "\n")
        self._out.flush()
