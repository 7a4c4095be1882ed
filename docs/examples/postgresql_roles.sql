-- Brings roles to what standard input says, as JSON with names and stable keys:
--   {"users": [["ann", "6f1c..."]], "groups": [["Nurses", "90ab...", ["ann"]]]}
--
-- A user's role is called like the user, a user group's has "group_" before the name: they are never one role.
-- A role is ours if its comment has the stable key for which it was made. No other role is changed, granted or revoked,
-- whatever its name. A new ann does not get the role of an ann who left, because it may own tables.
--
-- Standard output has "left out" lines for those who get no role, and a line for each change. Standard error has what
-- failed.
\set ON_ERROR_STOP on
\set wanted `cat`
SET search_path = pg_catalog, pg_temp; -- without public, where others may have put functions for us to call
SET lock_timeout = '5s'; -- nobody holds us up by holding a lock
SET client_min_messages = warning;
SELECT current_setting('server_encoding') = 'UTF8' AS every_name_can_be_written \gset
\if :every_name_can_be_written
\else
\warn The database must have the encoding UTF8.
\quit
\endif

CREATE TEMP TABLE asked AS
    SELECT 'user' AS kind, u->>0 AS role, 'from the directory, user ' || (u->>1) AS mark
    FROM jsonb_array_elements(:'wanted'::jsonb->'users') u
    UNION ALL
    SELECT 'group', 'group_' || (g->>0), 'from the directory, group ' || (g->>1)
    FROM jsonb_array_elements(:'wanted'::jsonb->'groups') g;
CREATE TEMP TABLE asked_members AS
    SELECT 'group_' || (g->>0) AS granted, member
    FROM jsonb_array_elements(:'wanted'::jsonb->'groups') g, jsonb_array_elements_text(g->2) member;

-- Names are compared without case: who writes GRANT ... TO Nurses without quotes means nurses.
CREATE TEMP VIEW all_roles AS
    SELECT oid, rolname::text AS role, rolcanlogin, shobj_description(oid, 'pg_authid') AS mark FROM pg_roles;
CREATE TEMP TABLE judged AS
    SELECT *, CASE
        WHEN mark IS NULL THEN 'it has no stable key'
        WHEN octet_length(role) NOT BETWEEN 1 AND 63 THEN 'a role has a name of 1 to 63 bytes'
        WHEN kind = 'user' AND (lower(role) ~ '^(pg_|group_)' OR lower(role) IN
            ('public', 'none', 'all', 'user', 'current_user', 'current_role', 'session_user')) THEN 'the name is reserved'
        WHEN count(*) OVER (PARTITION BY kind, lower(role)) > 1 THEN 'several have this name'
        WHEN EXISTS (SELECT FROM all_roles r WHERE lower(r.role) = lower(asked.role) AND r.mark IS DISTINCT FROM asked.mark)
            THEN 'a role that was not made for it has this name'
        END AS why
    FROM asked;

CREATE TEMP VIEW wanted AS SELECT kind, role, mark FROM judged WHERE why IS NULL;
CREATE TEMP VIEW ours AS SELECT * FROM all_roles WHERE mark LIKE 'from the directory, %';
CREATE TEMP VIEW present AS SELECT ours.*, kind FROM ours JOIN wanted USING (role, mark);
CREATE TEMP VIEW leavers AS SELECT * FROM ours WHERE oid NOT IN (SELECT oid FROM present);
CREATE TEMP VIEW wanted_members AS
    SELECT g.oid AS roleid, u.oid AS member, g.role AS granted, u.role AS name
    FROM asked_members m JOIN present g ON g.role = m.granted JOIN present u ON u.role = m.member;
CREATE TEMP TABLE ending AS
    SELECT g.role AS granted, u.role AS name, u.oid, coalesce(quote_ident(a.rolname), 'CURRENT_USER') AS grantor
    FROM pg_auth_members m JOIN ours g ON g.oid = m.roleid JOIN ours u ON u.oid = m.member
        LEFT JOIN pg_roles a ON a.oid = m.grantor
    WHERE (m.roleid, m.member) NOT IN (SELECT roleid, member FROM wanted_members);
PREPARE end_sessions AS
    SELECT format('SELECT %L, pg_terminate_backend(%s, 5000)', 'session of ' || usename, pid) FROM pg_stat_activity
    WHERE usesysid IN (SELECT oid FROM leavers) OR usesysid IN (SELECT oid FROM ending);

-- From here on, what fails does not stop the rest.
\set ON_ERROR_STOP off
\set QUIET off

-- Leavers first. Sessions end before NOLOGIN, because they may hold what it waits for, and after it, because some may
-- have begun in between. They end after REVOKE, too: a session that did SET ROLE would keep the role.
EXECUTE end_sessions \gexec
SELECT format('ALTER ROLE %I NOLOGIN', role) FROM leavers WHERE rolcanlogin ORDER BY role \gexec
SELECT format('REVOKE %I FROM %I GRANTED BY %s CASCADE', granted, name, grantor) FROM ending ORDER BY 1 \gexec
EXECUTE end_sessions \gexec

-- Then who came, or came back. Nobody may log in with a role before it has its comment.
SELECT format('CREATE ROLE %I', role), format('COMMENT ON ROLE %I IS %L', role, mark) FROM wanted
    WHERE role NOT IN (SELECT role FROM all_roles) ORDER BY role \gexec
SELECT format('ALTER ROLE %I LOGIN', role) FROM present WHERE kind = 'user' AND NOT rolcanlogin ORDER BY role \gexec
SELECT format('GRANT %I TO %I', granted, name) FROM wanted_members w
    WHERE NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = w.roleid AND m.member = w.member) ORDER BY 1 \gexec

SELECT format('left out: %s %s, %s', kind, to_json(role), why) FROM judged WHERE why IS NOT NULL ORDER BY 1;
