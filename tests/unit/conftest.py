# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties are tried on the same examples in every run of CI, and on new ones everywhere else.

``--hypothesis-profile few`` tries an eighth of them: for one more Python, when another one tries them all.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("support")  # so that a failed assertion in there says what differs

# Nothing depends on how fast the machine is.
ALL = settings(
    derandomize=bool(os.environ.get("CI")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("all", ALL)
settings.register_profile("few", ALL, max_examples=ALL.max_examples // 8)
settings.load_profile("all")
