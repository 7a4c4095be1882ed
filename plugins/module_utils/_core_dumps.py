# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""A process that holds a password leaves no core dump.

The role installs this file beside its programs, so it imports nothing of the collection.
"""

from __future__ import annotations

import contextlib

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid_core_dumps() -> None:
    """Let a crash of this process write its memory nowhere, and no other process of its user read it.

    The limit is for what this process starts, too, but the kernel does not apply it where core dumps go to a program
    (core(5)). The other setting covers that case; it lasts until another program is executed (PR_SET_DUMPABLE(2const)).
    On systems other than Linux there is only the limit.
    """
    # A Python that was built with less than all can do without them.
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
