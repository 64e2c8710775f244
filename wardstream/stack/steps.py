"""Running named steps in threads, each as soon as those it needs are done; the first failure ends the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import tenacity

from wardstream.stack.errors import StackError, in_words

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One step: its name, what it needs (names that are not there count as done), and what it does.

    `run` gets an event that is set when the whole should end; it returns a word or two for the user.
    """

    name: str
    needs: Sequence[str]
    run: Callable[[threading.Event], str]


def run_steps(steps: Sequence[Step], say: Say) -> None:
    """Run all steps, saying how long each took; the first failing step ends all with a StackError."""
    begun = time.monotonic()
    stop = threading.Event()
    waiting = list(steps)
    names = {step.name for step in steps}
    done: set[str] = set()
    running: dict[Future[str], tuple[Step, float]] = {}
    with ThreadPoolExecutor(max(len(steps), 1)) as pool:
        try:
            while waiting or running:
                for step in [s for s in waiting if not (set(s.needs) & names) - done]:
                    waiting.remove(step)
                    running[pool.submit(step.run, stop)] = (step, time.monotonic())
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    step, started = running.pop(future)
                    error = future.exception()
                    if error is not None and not isinstance(error, StackError):
                        raise in_words(step.name, error) from error
                    result = future.result()
                    done.add(step.name)
                    now = time.monotonic()
                    say(f"{now - begun:6.1f} s  {step.name:<13} {result} ({now - started:.1f} s)")
        finally:
            stop.set()


def wait_until(check: Callable[[], bool], seconds: float, stop: threading.Event) -> bool:
    """Ask until `check` is true; False when the time is over or the whole should end. What it raises is passed on."""
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda ready: not ready),
        stop=tenacity.stop_any(tenacity.stop_after_delay(seconds), tenacity.stop_when_event_set(stop)),
        wait=tenacity.wait_fixed(0.15),
        sleep=tenacity.sleep_using_event(stop),
        retry_error_callback=lambda _: False,
    )
    return bool(retrying(check))
