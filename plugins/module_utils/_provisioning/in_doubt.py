# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What a link says while a change of who may do what is sent. Pure.

Example: bob is enabled, the destination does it, and its answer is lost. Then he is disabled in the store. So his link
says that his state is not known, from before the change is sent until its outcome is kept, and the next run disables
him. If the link said as before that he is disabled, there would be nothing to do. The same goes for who is disabled and
enabled again, and for who joins or leaves a group.

Of somebody who is being deleted, the link says that he may be: he is in doubt himself. If he comes back, the next run
looks at his account.
"""

from __future__ import annotations

from .._destination.contract import Kind, State
from .model import CreateStep, DeleteStep, Link, Links, MembersStep, Ref, Step, TakeOverStep, UpdateStep, ours_of


def changes_access(step: Step) -> bool:
    """Tell whether somebody may do more or less after this step than before."""
    if isinstance(step, MembersStep):
        return bool(step.added or step.removed)
    if isinstance(step, (UpdateStep, TakeOverStep)):
        return step.ref.kind is Kind.ACCOUNT and step.before.state is not step.after.state
    return isinstance(step, (CreateStep, DeleteStep))


def link_before(step: Step, links: Links) -> Link | None:
    """Return the link of somebody whom a step is about, as it is before. None if there is none: nothing is sent.

    Who is taken over is linked from now on.
    """
    if isinstance(step, TakeOverStep):
        return Link(step.id, ours_of(step.before, step.written))
    return links.get(step.ref)


def while_sent(step: Step, before: Link, links: Links) -> Link:
    """Return what the link says from before a step is sent until its outcome is kept."""
    if isinstance(step, MembersStep):
        coming = links.keys() & set(step.added)
        return before._replace(
            members=before.members.union(step.removed), in_doubt=before.in_doubt.union(coming, step.removed)
        )
    if isinstance(step, DeleteStep):
        return before._replace(in_doubt=before.in_doubt | {step.ref})
    return before._replace(written=before.written._replace(state=State.UNTOLD))


def may_be_deleted(ref: Ref, link: Link) -> bool:
    """Tell whether a deletion was sent of which nobody knows what came: if it is gone, we did it."""
    return ref in link.in_doubt


def as_seen(ref: Ref, link: Link) -> Link:
    """Return the link of somebody who is there."""
    return link._replace(gone=False, in_doubt=link.in_doubt - {ref})
