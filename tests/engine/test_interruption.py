import os
import signal
import threading

import pytest

from autoft.engine.interruption import PATIENCE_SECONDS, Interruption, interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_wish_that_whoever_can_end_cleanly_looks_at(number: signal.Signals) -> None:
    with interruptible() as interruption:
        interruption.check()
        os.kill(os.getpid(), number)
        assert interruption.is_requested
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_the_handlers_that_were_there_are_put_back() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    with interruptible():
        for number in numbers:
            signal.signal(number, lambda number, frame: None)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_second_signal_soon_after_the_first_changes_nothing_and_a_later_one_ends_at_once() -> None:
    now = 100.0
    interruption = Interruption(now=lambda: now)
    former = signal.getsignal(signal.SIGINT)
    interruption.watch()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        now += PATIENCE_SECONDS
        os.kill(os.getpid(), signal.SIGINT)
        now += 0.1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)


def test_what_the_process_ignores_stays_ignored() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interruption.is_requested
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_thread_that_is_not_the_main_one_takes_no_signals() -> None:
    seen = []

    def search() -> None:
        with interruptible() as interruption:
            interruption.watch()
            seen.append(interruption.is_requested)

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert seen == [False]


def test_a_block_that_may_be_cut_is_cut_at_once_and_not_begun_after_a_signal() -> None:
    seen = []

    def start(interruption: Interruption) -> None:
        with interruption.at_once():
            seen.append("begun")
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("not cut")

    with interruptible() as interruption:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                start(interruption)
        os.kill(os.getpid(), signal.SIGTERM)
    assert seen == ["begun"]
