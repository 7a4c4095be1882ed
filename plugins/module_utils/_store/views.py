# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Views for other programs: what they have is documented, and stays; the tables below them may change.

Times are seconds since 1970, in UTC. Attributes are JSON. Members are users who are enabled and not extinct, of user
groups that are not extinct: so whoever grants by them grants to nobody who is gone.
"""

from __future__ import annotations

# Path of each user group: "/" in a name is written "\/", and "\" is "\\".
_PATHS = (
    "WITH RECURSIVE paths (id, path) AS ("
    " SELECT g.id, replace(replace(g.name, '\\', '\\\\'), '/', '\\/') FROM user_groups g WHERE g.parent_id IS NULL"
    " UNION ALL SELECT c.id, p.path || '/' || replace(replace(c.name, '\\', '\\\\'), '/', '\\/')"
    " FROM paths p JOIN user_groups c ON c.parent_id = p.id) "
)

_MEMBERS = " JOIN users u ON u.id = m.user_id AND u.enabled = 1 AND u.extinct IS NULL"

_DIRECT = (
    "SELECT m.user_group_id AS user_group_id, m.user_id AS user_id"
    " FROM user_groups g JOIN memberships m ON m.user_group_id = g.id" + _MEMBERS + " WHERE g.extinct IS NULL"
)

PROVISIONINGS = "view_provisioning_history"

# Name -> what it selects. The names of columns are those that docs/postgresql.md says.
VIEWS = {
    "view_user_groups": _PATHS
    + "SELECT g.id AS user_group_id, p.path AS path, g.name AS name, g.parent_id AS parent_id, g.key AS key,"
    " s.name AS synchronization, g.dn AS dn, g.extinct AS extinct, g.extinct_since AS extinct_since,"
    " g.attributes AS attributes"
    " FROM user_groups g JOIN paths p ON p.id = g.id LEFT JOIN synchronizations s ON s.id = g.synchronization_id",
    "view_users": _PATHS + "SELECT u.id AS user_id, u.name AS name, p.path AS home, u.enabled AS enabled, u.sid AS sid,"
    " d.identity AS directory, u.key AS key, u.dn AS dn, s.name AS synchronization, u.extinct AS extinct,"
    " u.extinct_since AS extinct_since, u.attributes AS attributes, u.local_attributes AS local_attributes"
    " FROM users u JOIN paths p ON p.id = u.home_id LEFT JOIN directories d ON d.id = u.directory_id"
    " LEFT JOIN synchronizations s ON s.id = u.synchronization_id",
    "view_direct_members": _DIRECT,
    # User groups with others in them are few, and only in these may somebody be twice. PostgreSQL takes them for a
    # hundred times as many if it knows how many are not extinct; of an expression it takes that for a few.
    "view_effective_members": "WITH RECURSIVE reached (user_group_id, source_id) AS ("
    " SELECT n.user_group_id, n.nested_id FROM nestings n"
    " JOIN user_groups g ON g.id = n.user_group_id AND coalesce(g.extinct, '') = ''"
    " JOIN user_groups c ON c.id = n.nested_id AND coalesce(c.extinct, '') = ''"
    " UNION SELECT r.user_group_id, n.nested_id FROM reached r JOIN nestings n ON n.user_group_id = r.source_id"
    " JOIN user_groups c ON c.id = n.nested_id AND coalesce(c.extinct, '') = '') "
    + _DIRECT
    + " AND g.id NOT IN (SELECT user_group_id FROM reached)"
    " UNION ALL SELECT m.user_group_id, m.user_id FROM (SELECT DISTINCT a.user_group_id, m.user_id FROM ("
    " SELECT user_group_id, source_id FROM reached UNION SELECT user_group_id, user_group_id FROM reached) a"
    " JOIN memberships m ON m.user_group_id = a.source_id) m" + _MEMBERS,
    # Who is in it, and who was. No time where nobody knows it any more.
    "view_membership_history": _PATHS
    + "SELECT p.path AS user_group, g.key AS user_group_key, 'user' AS kind, u.name AS member, u.key AS member_key,"
    " r.time AS joined, CAST(NULL AS bigint) AS ended"
    " FROM memberships m JOIN paths p ON p.id = m.user_group_id JOIN user_groups g ON g.id = m.user_group_id"
    " JOIN users u ON u.id = m.user_id LEFT JOIN runs r ON r.id = m.run_id"
    " UNION ALL SELECT p.path, g.key, 'user_group', q.path, c.key, r.time, CAST(NULL AS bigint)"
    " FROM nestings m JOIN paths p ON p.id = m.user_group_id JOIN user_groups g ON g.id = m.user_group_id"
    " JOIN user_groups c ON c.id = m.nested_id JOIN paths q ON q.id = m.nested_id LEFT JOIN runs r ON r.id = m.run_id"
    " UNION ALL SELECT h.user_group, h.user_group_key, h.kind, h.member, h.member_key, j.time, r.time"
    " FROM past_memberships h JOIN runs r ON r.id = h.run_id LEFT JOIN runs j ON j.id = h.joined_by",
    "view_runs": "SELECT r.id AS run_id, r.synchronization AS synchronization, r.time AS time, r.seconds AS seconds,"
    " r.server AS server, r.mode AS mode, r.reason AS reason, r.changed AS changed, r.counts AS counts,"
    " r.plan_digest AS plan_digest FROM runs r",
    # What is linked, and what ended. No time where it has not ended.
    PROVISIONINGS: "SELECT p.name AS provisioning, p.destination AS destination, l.kind AS kind, l.key AS key,"
    " CASE WHEN l.departed = 1 THEN 'departed' ELSE 'linked' END AS event, CAST(NULL AS bigint) AS time,"
    " l.destination_id AS destination_id, '' AS group_name"
    " FROM links l JOIN provisionings p ON p.id = l.provisioning_id"
    " UNION ALL SELECT h.provisioning, coalesce(p.destination, ''), h.kind, h.key, h.event, h.time, h.destination_id,"
    " h.group_name FROM past_links h LEFT JOIN provisionings p ON p.name = h.provisioning",
}
