-- A store as schema version 5 had it.
PRAGMA application_id = 1970497394;
PRAGMA user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE claims (
        synchronization_id INTEGER NOT NULL REFERENCES synchronizations ON DELETE CASCADE,
        user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, disabled TEXT,
        PRIMARY KEY (synchronization_id, user_id)) WITHOUT ROWID;
INSERT INTO "claims" VALUES(1,1,NULL);
CREATE TABLE directories (
        id INTEGER PRIMARY KEY,
        identity TEXT NOT NULL UNIQUE);
INSERT INTO "directories" VALUES(1,'dc=example,dc=org#1');
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
COMMIT;
