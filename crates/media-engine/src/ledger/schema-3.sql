-- Version 3: fewer indexes, which were half of what writing a job cost. An attempt is told apart by what its key is computed
-- from; by the key alone only those are looked for that are not ended, and they are few. Equal requests are looked up in
-- memory by whoever needs them (`Reader::find_equal`).

CREATE TABLE attempts_3 (
    key             TEXT NOT NULL,
    job             TEXT NOT NULL,
    take            INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    hash            BLOB NOT NULL,
    state           TEXT NOT NULL,
    group_key       TEXT,
    link            TEXT,
    facts           TEXT,
    sha256          TEXT,
    bytes           INTEGER,
    staged          TEXT,
    cost_micros     INTEGER,
    cost_basis      TEXT,
    sends           INTEGER NOT NULL DEFAULT 0,
    first_sent_ms   INTEGER,
    last_sent_ms    INTEGER,
    linked_ms       INTEGER,
    have_ms         INTEGER,
    ended_ms        INTEGER,
    reserved_micros INTEGER,
    listed_micros   INTEGER,
    provider        TEXT,
    model           TEXT,
    path            TEXT,
    CHECK ((ended_ms IS NULL) = (state = 'sending' OR state = 'linked' OR state = 'have'))
);

INSERT INTO attempts_3
SELECT key, job, take, number, hash, state, group_key, link, facts, sha256, bytes, staged, cost_micros, cost_basis, sends,
    first_sent_ms, last_sent_ms, linked_ms, have_ms,
    CASE WHEN state NOT IN ('sending', 'linked', 'have')
        THEN coalesce(ended_ms, have_ms, linked_ms, last_sent_ms, 0) END,
    reserved_micros, listed_micros, provider, model, path
FROM attempts ORDER BY rowid;

DROP TABLE attempts;
ALTER TABLE attempts_3 RENAME TO attempts;

CREATE UNIQUE INDEX attempts_by_job ON attempts (job, take, number, hash);
CREATE INDEX attempts_open ON attempts (key) WHERE ended_ms IS NULL;

DROP INDEX takes_by_hash;
