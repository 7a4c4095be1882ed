-- Brings roles to what the psql variable "wanted" says, as JSON:
--   {"users": ["ann"], "groups": [{"name": "Nurses", "members": ["ann"]}]}
-- Each line that it prints is a change. Only members of the role from_directory are touched, which are those that it
-- made: a role that somebody else made is left alone, whatever its name.
\set QUIET on
BEGIN;
CREATE TEMP TABLE wanted_groups AS
    SELECT g->>'name' AS name FROM jsonb_array_elements(:'wanted'::jsonb->'groups') g
    WHERE octet_length(g->>'name') BETWEEN 1 AND 63;
CREATE TEMP TABLE wanted_users AS
    SELECT name FROM jsonb_array_elements_text(:'wanted'::jsonb->'users') name
    WHERE octet_length(name) BETWEEN 1 AND 63 AND name NOT IN (SELECT name FROM wanted_groups);
CREATE TEMP TABLE wanted_members AS
    SELECT g->>'name' AS name, member
    FROM jsonb_array_elements(:'wanted'::jsonb->'groups') g, jsonb_array_elements_text(g->'members') member;
CREATE TEMP VIEW ours AS
    SELECT r.oid, r.rolname::text AS name, r.rolcanlogin
    FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid JOIN pg_roles d ON d.oid = m.roleid
    WHERE d.rolname = 'from_directory';
\set QUIET off

SELECT 'CREATE ROLE from_directory'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'from_directory') \gexec
SELECT format('CREATE ROLE %I IN ROLE from_directory', name) FROM wanted_groups
    WHERE name NOT IN (SELECT rolname FROM pg_roles) ORDER BY name \gexec
SELECT format('CREATE ROLE %I LOGIN IN ROLE from_directory', name) FROM wanted_users
    WHERE name NOT IN (SELECT rolname FROM pg_roles) ORDER BY name \gexec

-- Who came back may log in again, who left no more.
SELECT format('ALTER ROLE %I LOGIN', name) FROM ours
    WHERE NOT rolcanlogin AND name IN (SELECT name FROM wanted_users) ORDER BY name \gexec
SELECT format('ALTER ROLE %I NOLOGIN', name) FROM ours
    WHERE rolcanlogin AND name NOT IN (SELECT name FROM wanted_users) ORDER BY name \gexec

SELECT format('GRANT %I TO %I', g.name, u.name)
    FROM wanted_members w JOIN ours g ON g.name = w.name JOIN ours u ON u.name = w.member
    WHERE u.name IN (SELECT name FROM wanted_users)
      AND NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = g.oid AND m.member = u.oid)
    ORDER BY g.name, u.name \gexec
SELECT format('REVOKE %I FROM %I', g.name, u.name)
    FROM pg_auth_members m JOIN ours g ON g.oid = m.roleid JOIN ours u ON u.oid = m.member
    WHERE NOT EXISTS (SELECT FROM wanted_members w WHERE w.name = g.name AND w.member = u.name)
    ORDER BY g.name, u.name \gexec
\set QUIET on
COMMIT;
