# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""The collection's own exception: what a run cannot do, in one sentence for the reader."""

from __future__ import annotations


class SynchronizationError(Exception):
    """A run cannot go on. The message is for the reader: it names the option and the remedy, and holds no secret."""
