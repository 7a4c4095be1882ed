-- A store as schema version 7 had it.
PRAGMA application_id = 1970497394;
PRAGMA user_version = 7;
BEGIN TRANSACTION;
CREATE TABLE allowed (provisioning_id INTEGER NOT NULL, removal TEXT NOT NULL);
CREATE TABLE claims (
        synchronization_id INTEGER NOT NULL REFERENCES synchronizations ON DELETE CASCADE,
        user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, disabled TEXT,
        PRIMARY KEY (synchronization_id, user_id)) WITHOUT ROWID;
INSERT INTO "claims" VALUES(1,1,NULL);
CREATE TABLE directories (
        id INTEGER PRIMARY KEY,
        identity TEXT NOT NULL UNIQUE);
INSERT INTO "directories" VALUES(1,'dc=example,dc=org#1');
CREATE TABLE intents (
        provisioning_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (provisioning_id, kind, key)) WITHOUT ROWID;
CREATE TABLE kept_names (
        kind TEXT NOT NULL,
        user_group_id INTEGER NOT NULL REFERENCES user_groups ON DELETE CASCADE,
        name_key TEXT NOT NULL,
        directory_id INTEGER NOT NULL REFERENCES directories,
        key TEXT NOT NULL,
        unit TEXT NOT NULL,
        since INTEGER NOT NULL,
        synchronization_id INTEGER NOT NULL REFERENCES synchronizations ON DELETE CASCADE,
        PRIMARY KEY (kind, user_group_id, name_key)) WITHOUT ROWID;
CREATE TABLE link_members (
        link_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        PRIMARY KEY (link_id, kind, key)) WITHOUT ROWID;
INSERT INTO "link_members" VALUES(2,'account','u1');
CREATE TABLE links (
        id INTEGER PRIMARY KEY,
        provisioning_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        destination_id TEXT NOT NULL,
        written TEXT NOT NULL,
        shown TEXT NOT NULL,
        departed INTEGER NOT NULL,
        gone INTEGER NOT NULL,
        UNIQUE (provisioning_id, kind, key));
INSERT INTO "links" VALUES(1,1,'account','u1','a1','{"name":"ann","external_id":"u1","state":"enabled","attributes":{}}','{}',0,0);
INSERT INTO "links" VALUES(2,1,'group','g1','b1','{"name":"Nurses","external_id":"g1","state":"enabled","attributes":{}}','{}',0,0);
CREATE TABLE marks (
        synchronization_id INTEGER PRIMARY KEY REFERENCES synchronizations ON DELETE CASCADE,
        mark TEXT NOT NULL,
        versions BLOB NOT NULL);
INSERT INTO "marks" VALUES(1,'{"none":""}',X'');
CREATE TABLE memberships (
        user_group_id INTEGER NOT NULL REFERENCES user_groups ON DELETE CASCADE,
        user_id INTEGER NOT NULL,
        listed_as TEXT,
        run_id INTEGER,
        PRIMARY KEY (user_group_id, user_id)) WITHOUT ROWID;
INSERT INTO "memberships" VALUES(3,1,NULL,NULL);
CREATE TABLE nestings (
        user_group_id INTEGER NOT NULL REFERENCES user_groups ON DELETE CASCADE,
        nested_id INTEGER NOT NULL REFERENCES user_groups ON DELETE CASCADE,
        listed_as TEXT,
        run_id INTEGER,
        PRIMARY KEY (user_group_id, nested_id)) WITHOUT ROWID;
CREATE TABLE past_links (
        provisioning TEXT NOT NULL,
        time INTEGER NOT NULL,
        event TEXT NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        destination_id TEXT NOT NULL,
        group_name TEXT NOT NULL);
CREATE TABLE past_memberships (
        run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        user_group TEXT NOT NULL,
        user_group_key TEXT,
        kind TEXT NOT NULL,
        member TEXT NOT NULL,
        member_key TEXT,
        joined_by INTEGER);
CREATE TABLE past_records (
        run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        kind TEXT NOT NULL,
        key TEXT,
        path TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT);
CREATE TABLE provisionings (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        destination TEXT NOT NULL,
        run TEXT NOT NULL,
        holder TEXT NOT NULL,
        seen INTEGER NOT NULL,
        told TEXT NOT NULL);
INSERT INTO "provisionings" VALUES(1,'wiki','https://scim.example/v2','r','',1000,'');
CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        synchronization_id INTEGER REFERENCES synchronizations ON DELETE SET NULL,
        synchronization TEXT NOT NULL,
        time INTEGER NOT NULL,
        seconds REAL NOT NULL,
        server TEXT NOT NULL,
        mode TEXT NOT NULL,
        changed INTEGER NOT NULL,
        counts TEXT NOT NULL,
        plan_digest TEXT NOT NULL,
        settings_digest TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', checked INTEGER NOT NULL DEFAULT 0);
INSERT INTO "runs" VALUES(1,1,'staff',1000,0.5,'dc1','full',1,'{"users":{"created":1}}','d1','','',0);
CREATE TABLE synchronizations (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        directory_id INTEGER NOT NULL REFERENCES directories,
        target_id INTEGER NOT NULL REFERENCES user_groups,
        salt BLOB NOT NULL,
        selected TEXT NOT NULL,
        settings TEXT NOT NULL,
        scope TEXT NOT NULL DEFAULT 'null',
        held TEXT NOT NULL DEFAULT '[]');
INSERT INTO "synchronizations" VALUES(1,'staff',1,2,X'73616C74','{}','{"name":"staff"}','null','[]');
CREATE TABLE user_groups (
        id INTEGER PRIMARY KEY,
        parent_id INTEGER REFERENCES user_groups DEFERRABLE INITIALLY DEFERRED,
        name TEXT NOT NULL,
        name_key TEXT,
        synchronization_id INTEGER REFERENCES synchronizations ON DELETE SET NULL,
        key TEXT,
        made_as_target INTEGER NOT NULL DEFAULT 0,
        extinct TEXT,
        extinct_since INTEGER,
        attributes TEXT NOT NULL DEFAULT '{}',
        dn TEXT NOT NULL DEFAULT '',
        digest BLOB NOT NULL DEFAULT x'',
        run_id INTEGER, unit TEXT NOT NULL DEFAULT '', own_name TEXT NOT NULL DEFAULT '',
        UNIQUE (parent_id, name_key),
        UNIQUE (synchronization_id, key));
INSERT INTO "user_groups" VALUES(1,NULL,'All','all',NULL,NULL,0,NULL,NULL,'{}','',X'',NULL,'','');
INSERT INTO "user_groups" VALUES(2,1,'Staff','staff',NULL,NULL,1,NULL,NULL,'{}','',X'',NULL,'','');
INSERT INTO "user_groups" VALUES(3,2,'Nurses','nurses',1,'g1',0,NULL,NULL,'{}','cn=Nurses',X'01',NULL,'','');
CREATE TABLE users (
        id INTEGER PRIMARY KEY,
        home_id INTEGER NOT NULL REFERENCES user_groups,
        name TEXT NOT NULL,
        name_key TEXT,
        directory_id INTEGER REFERENCES directories,
        key TEXT,
        synchronization_id INTEGER REFERENCES synchronizations ON DELETE SET NULL,
        adopted INTEGER NOT NULL DEFAULT 0,
        enabled INTEGER NOT NULL DEFAULT 1,
        sid TEXT,
        extinct TEXT,
        extinct_since INTEGER,
        dn TEXT NOT NULL DEFAULT '',
        known_as TEXT NOT NULL DEFAULT '',
        digest BLOB NOT NULL DEFAULT x'',
        attributes TEXT NOT NULL DEFAULT '{}',
        local_attributes TEXT NOT NULL DEFAULT '{}',
        run_id INTEGER, expires INTEGER, unit TEXT NOT NULL DEFAULT '',
        UNIQUE (home_id, name_key),
        UNIQUE (directory_id, key));
INSERT INTO "users" VALUES(1,2,'ann','ann',1,'u1',1,0,1,NULL,NULL,NULL,'uid=ann','',X'02','{"email":"a@x"}','{"desk":"4"}',NULL,NULL,'');
CREATE INDEX users_sid ON users (sid) WHERE sid IS NOT NULL;
CREATE INDEX users_extinct ON users (synchronization_id) WHERE extinct IS NOT NULL;
CREATE INDEX claims_user ON claims (user_id);
CREATE INDEX memberships_user ON memberships (user_id);
CREATE TRIGGER users_end AFTER DELETE ON users BEGIN
    DELETE FROM memberships WHERE user_id = old.id;
    END;
CREATE INDEX nestings_nested ON nestings (nested_id);
CREATE INDEX runs_synchronization ON runs (synchronization_id);
CREATE INDEX past_memberships_run ON past_memberships (run_id);
CREATE INDEX past_memberships_member ON past_memberships (member_key);
CREATE INDEX past_memberships_user_group ON past_memberships (user_group_key);
CREATE INDEX past_records_run ON past_records (run_id);
CREATE INDEX past_records_key ON past_records (key);
CREATE INDEX users_expires ON users (expires) WHERE expires IS NOT NULL;
CREATE INDEX users_to_compare ON users (synchronization_id) WHERE digest = x'';
CREATE INDEX kept_names_user_group ON kept_names (user_group_id);
CREATE INDEX kept_names_synchronization ON kept_names (synchronization_id);
CREATE TRIGGER claims_end AFTER DELETE ON claims WHEN old.disabled IS NOT NULL BEGIN
    UPDATE users SET digest = x'' WHERE id = old.user_id;
    END;
CREATE INDEX allowed_provisioning ON allowed (provisioning_id);
CREATE INDEX past_links_key ON past_links (key);
CREATE VIEW view_user_groups AS WITH RECURSIVE paths (id, path) AS ( SELECT g.id, replace(replace(g.name, '\', '\\'), '/', '\/') FROM user_groups g WHERE g.parent_id IS NULL UNION ALL SELECT c.id, p.path || '/' || replace(replace(c.name, '\', '\\'), '/', '\/') FROM paths p JOIN user_groups c ON c.parent_id = p.id) SELECT g.id AS user_group_id, p.path AS path, g.name AS name, g.parent_id AS parent_id, g.key AS key, s.name AS synchronization, g.dn AS dn, g.extinct AS extinct, g.extinct_since AS extinct_since, g.attributes AS attributes FROM user_groups g JOIN paths p ON p.id = g.id LEFT JOIN synchronizations s ON s.id = g.synchronization_id;
CREATE VIEW view_users AS WITH RECURSIVE paths (id, path) AS ( SELECT g.id, replace(replace(g.name, '\', '\\'), '/', '\/') FROM user_groups g WHERE g.parent_id IS NULL UNION ALL SELECT c.id, p.path || '/' || replace(replace(c.name, '\', '\\'), '/', '\/') FROM paths p JOIN user_groups c ON c.parent_id = p.id) SELECT u.id AS user_id, u.name AS name, p.path AS home, u.enabled AS enabled, u.sid AS sid, d.identity AS directory, u.key AS key, u.dn AS dn, s.name AS synchronization, u.extinct AS extinct, u.extinct_since AS extinct_since, u.attributes AS attributes, u.local_attributes AS local_attributes FROM users u JOIN paths p ON p.id = u.home_id LEFT JOIN directories d ON d.id = u.directory_id LEFT JOIN synchronizations s ON s.id = u.synchronization_id;
CREATE VIEW view_direct_members AS SELECT m.user_group_id AS user_group_id, m.user_id AS user_id FROM user_groups g JOIN memberships m ON m.user_group_id = g.id JOIN users u ON u.id = m.user_id AND u.enabled = 1 AND u.extinct IS NULL WHERE g.extinct IS NULL;
CREATE VIEW view_effective_members AS WITH RECURSIVE reached (user_group_id, source_id) AS ( SELECT n.user_group_id, n.nested_id FROM nestings n JOIN user_groups g ON g.id = n.user_group_id AND coalesce(g.extinct, '') = '' JOIN user_groups c ON c.id = n.nested_id AND coalesce(c.extinct, '') = '' UNION SELECT r.user_group_id, n.nested_id FROM reached r JOIN nestings n ON n.user_group_id = r.source_id JOIN user_groups c ON c.id = n.nested_id AND coalesce(c.extinct, '') = '') SELECT m.user_group_id AS user_group_id, m.user_id AS user_id FROM user_groups g JOIN memberships m ON m.user_group_id = g.id JOIN users u ON u.id = m.user_id AND u.enabled = 1 AND u.extinct IS NULL WHERE g.extinct IS NULL AND g.id NOT IN (SELECT user_group_id FROM reached) UNION ALL SELECT m.user_group_id, m.user_id FROM (SELECT DISTINCT a.user_group_id, m.user_id FROM ( SELECT user_group_id, source_id FROM reached UNION SELECT user_group_id, user_group_id FROM reached) a JOIN memberships m ON m.user_group_id = a.source_id) m JOIN users u ON u.id = m.user_id AND u.enabled = 1 AND u.extinct IS NULL;
CREATE VIEW view_membership_history AS WITH RECURSIVE paths (id, path) AS ( SELECT g.id, replace(replace(g.name, '\', '\\'), '/', '\/') FROM user_groups g WHERE g.parent_id IS NULL UNION ALL SELECT c.id, p.path || '/' || replace(replace(c.name, '\', '\\'), '/', '\/') FROM paths p JOIN user_groups c ON c.parent_id = p.id) SELECT p.path AS user_group, g.key AS user_group_key, 'user' AS kind, u.name AS member, u.key AS member_key, r.time AS joined, CAST(NULL AS bigint) AS ended FROM memberships m JOIN paths p ON p.id = m.user_group_id JOIN user_groups g ON g.id = m.user_group_id JOIN users u ON u.id = m.user_id LEFT JOIN runs r ON r.id = m.run_id UNION ALL SELECT p.path, g.key, 'user_group', q.path, c.key, r.time, CAST(NULL AS bigint) FROM nestings m JOIN paths p ON p.id = m.user_group_id JOIN user_groups g ON g.id = m.user_group_id JOIN user_groups c ON c.id = m.nested_id JOIN paths q ON q.id = m.nested_id LEFT JOIN runs r ON r.id = m.run_id UNION ALL SELECT h.user_group, h.user_group_key, h.kind, h.member, h.member_key, j.time, r.time FROM past_memberships h JOIN runs r ON r.id = h.run_id LEFT JOIN runs j ON j.id = h.joined_by;
CREATE VIEW view_runs AS SELECT r.id AS run_id, r.synchronization AS synchronization, r.time AS time, r.seconds AS seconds, r.server AS server, r.mode AS mode, r.reason AS reason, r.changed AS changed, r.counts AS counts, r.plan_digest AS plan_digest FROM runs r;
CREATE VIEW view_provisioning_history AS SELECT p.name AS provisioning, p.destination AS destination, l.kind AS kind, l.key AS key, CASE WHEN l.departed = 1 THEN 'departed' ELSE 'linked' END AS event, CAST(NULL AS bigint) AS time, l.destination_id AS destination_id, '' AS group_name FROM links l JOIN provisionings p ON p.id = l.provisioning_id UNION ALL SELECT h.provisioning, coalesce(p.destination, ''), h.kind, h.key, h.event, h.time, h.destination_id, h.group_name FROM past_links h LEFT JOIN provisionings p ON p.name = h.provisioning;
COMMIT;
