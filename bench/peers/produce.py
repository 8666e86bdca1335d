"""`python -m bench.peers.produce TASK COUNT`: one task per event; prints the seconds that this took."""

import sys
import time
from typing import Final

from bench.events import events
from bench.peers.app import alone, batched

TASKS: Final = {"batched": batched, "alone": alone}


def main(name: str, count: int) -> None:
    task, texts = TASKS[name], [each.decode() for each in events(count)]
    started = time.perf_counter()
    for text in texts:
        task.delay(text)
    sys.stdout.write(f"{time.perf_counter() - started}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
