"""Processes that tests begin and end."""

import signal


def heed_signals():
    """Ends at signals, in a process that begins, whatever the tests run under.

    What nohup and a shell's background ignore, processes begun there ignore, too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
