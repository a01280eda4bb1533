-- Version 2: what a send may cost stands beside what it did cost, and a person can protect a file from every redo.

ALTER TABLE attempts ADD COLUMN reserved_micros INTEGER;
ALTER TABLE jobs ADD COLUMN protected INTEGER NOT NULL DEFAULT 0;

UPDATE attempts SET reserved_micros = (SELECT estimate_micros FROM jobs WHERE jobs.id = attempts.job)
WHERE sends > 0;
