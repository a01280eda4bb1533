-- Version 5: what another take of a job is made for is written down before it is sent. The job's own row stays what its file was
-- made for until the new one is there, which may be after a kill.

CREATE TABLE redos (
    job             TEXT PRIMARY KEY,
    take            INTEGER NOT NULL,
    line            INTEGER NOT NULL,
    path            TEXT NOT NULL,
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    request         TEXT NOT NULL,
    asked           BLOB NOT NULL,
    hash            BLOB NOT NULL,
    estimate_micros INTEGER
) WITHOUT ROWID;
