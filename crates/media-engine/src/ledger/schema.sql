-- The ledger's schema, version 1. What each table and column means stands in docs/ledger.md.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Rows are appended, in the order in which things happen: what is written together then lies together, and a commit
-- touches few pages.

CREATE TABLE jobs (
    id              TEXT PRIMARY KEY,
    line            INTEGER NOT NULL,
    path            TEXT NOT NULL,
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    request         TEXT NOT NULL,
    asked           BLOB NOT NULL,
    hash            BLOB NOT NULL,
    take            INTEGER NOT NULL,
    status          TEXT NOT NULL,
    result          TEXT,
    estimate_micros INTEGER,
    updated_ms      INTEGER NOT NULL
);

CREATE TABLE takes (
    job         TEXT NOT NULL,
    take        INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    key         TEXT,
    shared_with TEXT,
    path        TEXT NOT NULL,
    format      TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    modified_ns INTEGER,
    width       INTEGER,
    height      INTEGER,
    duration_ms INTEGER,
    provenance  TEXT NOT NULL,
    made_ms     INTEGER NOT NULL,
    PRIMARY KEY (job, take)
);

CREATE INDEX takes_by_hash ON takes (hash);

CREATE TABLE attempts (
    key           TEXT PRIMARY KEY,
    job           TEXT NOT NULL,
    take          INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    hash          BLOB NOT NULL,
    state         TEXT NOT NULL,
    group_key     TEXT,
    link          TEXT,
    facts         TEXT,
    sha256        TEXT,
    bytes         INTEGER,
    staged        TEXT,
    cost_micros   INTEGER,
    cost_basis    TEXT,
    sends         INTEGER NOT NULL DEFAULT 0,
    first_sent_ms INTEGER,
    last_sent_ms  INTEGER,
    linked_ms     INTEGER,
    have_ms       INTEGER,
    ended_ms      INTEGER
);

CREATE INDEX attempts_by_job ON attempts (job, take, number);
CREATE INDEX attempts_open ON attempts (state) WHERE state IN ('sending', 'linked', 'have');
