"""What all tests need: a process whose children can be interrupted."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs that way, and every child would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
