# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties are tried on examples that come of the seed of the run: see tests/seeds.py.

``--hypothesis-profile some`` tries a third of them, in each run; ``few`` an eighth, for one more Python or store.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Nothing depends on how fast the machine is, or on where it runs.
ALL = settings(
    derandomize=False,
    print_blob=False,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("all", ALL)
settings.register_profile("some", ALL, max_examples=ALL.max_examples // 3)
settings.register_profile("few", ALL, max_examples=ALL.max_examples // 8)
settings.load_profile("all")
