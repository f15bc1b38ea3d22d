"""A request to stop waits for the end of the step."""

import os
import signal
import threading

import pytest

from mummi.training.stop import Stop


def test_the_first_ctrl_c_is_a_request_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_is_a_request_too():
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested


def test_in_another_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)

    def work():
        with Stop() as stop:
            seen.append((signal.getsignal(signal.SIGINT), stop.requested))

    seen = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
