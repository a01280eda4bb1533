-- Version 6: where a file stood before its row got another path. It still stands there, and is no file of a row that has that path
-- now.

CREATE TABLE former_places (
    path            TEXT NOT NULL,
    job             TEXT NOT NULL,
    hash            BLOB NOT NULL,
    bytes           INTEGER NOT NULL,
    sha256          TEXT NOT NULL,
    modified_ns     INTEGER
);
