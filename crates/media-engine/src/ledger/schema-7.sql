-- What is on its way to a path: with remote batches that can be as many as the list has rows.
CREATE INDEX redos_by_path ON redos (path);
