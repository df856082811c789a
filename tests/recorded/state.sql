-- State as the tree at commit 2973315 wrote it: see tests/test_state_of_before.py.
BEGIN TRANSACTION;
CREATE TABLE alias (
  alias TEXT PRIMARY KEY, room TEXT NOT NULL, slot TEXT NOT NULL, grounds TEXT NOT NULL);
INSERT INTO "alias" VALUES('fGrxc36QHuRc5N9QUUxQAwHY2b1EuHPwuFsNgnBpR5c','!räum:s','m.call#ROOM','proof');
INSERT INTO "alias" VALUES('an alias as MSC4195 plans them','!räum:s','m.call#SIDE','belief');
INSERT INTO "alias" VALUES('a call that is over','!room-of-version-12','m.call#ROOM','proof');
CREATE TABLE decision (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
  rule TEXT NOT NULL, room TEXT, user TEXT, body TEXT NOT NULL);
INSERT INTO "decision" VALUES(1,1790000001.1234,'refused','limit','!räum:s','@ann:s','{"id": "id1", "at": 1790000001.123, "kind": "refused", "rule": "limit", "observed": false, "room": "!r\u00e4um:s", "user": "@ann:s", "verdict": "refused", "why": "a sentence, with an \u00fc", "inputs": {"max_users": 2, "taken": 2, "is_seated": false}, "people": ["@bob:s", "@carl:s"]}');
INSERT INTO "decision" VALUES(2,1790000002.1234,'changed','sources','!räum:s','@ann:s','{"id": "id2", "at": 1790000002.123, "kind": "changed", "rule": "sources", "observed": false, "room": "!r\u00e4um:s", "user": "@ann:s", "verdict": "may publish microphone, valid for 600 s", "why": "a sentence, with an \u00fc", "inputs": {"grant": {"can_publish": true, "sources": []}, "forbidden": ["camera"], "seconds": 3600.0, "life": 600}, "people": []}');
INSERT INTO "decision" VALUES(3,1790000003.1234,'step','limit','!räum:s','@ann:s','{"id": "id3", "at": 1790000003.123, "kind": "step", "rule": "limit", "observed": true, "room": "!r\u00e4um:s", "user": "@ann:s", "verdict": "put out of the call", "why": "a sentence, with an \u00fc", "inputs": {"grant": {"can_publish": true, "sources": ["microphone"]}, "tracks": [["audio", "microphone"]], "forbidden": [], "is_standing": true, "is_loud": false}, "people": []}');
INSERT INTO "decision" VALUES(4,1790000004.1234,'fail_open','sources','!räum:s',NULL,'{"id": "id4", "at": 1790000004.123, "kind": "fail_open", "rule": "sources", "observed": false, "room": "!r\u00e4um:s", "user": null, "verdict": "let through", "why": "a sentence, with an \u00fc", "inputs": {}, "people": []}');
INSERT INTO "decision" VALUES(5,1790000005.1234,'unenforced','limit',NULL,NULL,'{"id": "id5", "at": 1790000005.123, "kind": "fail_open", "rule": "limit", "observed": false, "room": null, "user": null, "verdict": "not enforced", "why": "a sentence, with an \u00fc", "inputs": {}, "people": []}');
INSERT INTO "decision" VALUES(6,1790000006.1234,'refused','request','!half?:s',NULL,'{"id": "id6", "at": 1790000006.123, "kind": "refused", "rule": "request", "observed": false, "room": "!half\ud800:s", "user": null, "verdict": "refused", "why": "a sentence, with an \u00fc", "inputs": {}, "people": []}');
CREATE TABLE guard (
  instance TEXT PRIMARY KEY, pid INTEGER NOT NULL, listen TEXT NOT NULL, beat REAL NOT NULL);
INSERT INTO "guard" VALUES('one',4242,'tcp:8080',1790000000.0);
CREATE TABLE identity (
  identity TEXT PRIMARY KEY, user TEXT NOT NULL, alias TEXT NOT NULL);
INSERT INTO "identity" VALUES('QZEoams3rERxwPhmXYZo8zt2VbAmc2XBCQoL1KxWzDA','@ann:s','an alias as MSC4195 plans them');
INSERT INTO "identity" VALUES('@ann:s:LAPTOP','@ann:s','fGrxc36QHuRc5N9QUUxQAwHY2b1EuHPwuFsNgnBpR5c');
INSERT INTO "identity" VALUES('@bob:s:D','@bob:s','fGrxc36QHuRc5N9QUUxQAwHY2b1EuHPwuFsNgnBpR5c');
INSERT INTO "identity" VALUES('@carl:s:D','@carl:s','fGrxc36QHuRc5N9QUUxQAwHY2b1EuHPwuFsNgnBpR5c');
INSERT INTO "identity" VALUES('@dora:s:8448:D','@dora:s','an alias as MSC4195 plans them');
INSERT INTO "identity" VALUES('@x:evil:8448:D','@x:evil:8448:D','an alias as MSC4195 plans them');
INSERT INTO "identity" VALUES('@eve:s:E','@eve:s','a call that is over');
CREATE TABLE seat (
  room TEXT NOT NULL, person TEXT NOT NULL, until REAL, PRIMARY KEY (room, person));
INSERT INTO "seat" VALUES('!räum:s','@dora:s',1790000060.8);
INSERT INTO "seat" VALUES('!räum:s','@carl:s',NULL);
INSERT INTO "seat" VALUES('!räum:s','an identity that nobody has told us of',NULL);
INSERT INTO "seat" VALUES('!räum:s','@ann:s',NULL);
CREATE INDEX identity_alias ON identity (alias);
CREATE INDEX decision_room ON decision (room, number);
CREATE INDEX decision_kind ON decision (kind, rule, number);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('decision',6);
COMMIT;
