-- Version 2: an attempt knows what it may cost beside what it did cost, whom it asked, and which file it was to become; a
-- person can protect a file from every redo.

ALTER TABLE attempts ADD COLUMN reserved_micros INTEGER;
ALTER TABLE attempts ADD COLUMN listed_micros INTEGER;
ALTER TABLE attempts ADD COLUMN provider TEXT;
ALTER TABLE attempts ADD COLUMN model TEXT;
ALTER TABLE attempts ADD COLUMN path TEXT;
ALTER TABLE jobs ADD COLUMN protected INTEGER NOT NULL DEFAULT 0;

UPDATE attempts SET
    reserved_micros = (SELECT estimate_micros FROM jobs WHERE jobs.id = attempts.job),
    listed_micros = (SELECT estimate_micros FROM jobs WHERE jobs.id = attempts.job),
    provider = (SELECT provider FROM jobs WHERE jobs.id = attempts.job),
    model = (SELECT model FROM jobs WHERE jobs.id = attempts.job)
WHERE sends > 0;
