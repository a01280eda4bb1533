-- Version 4: an attempt knows the account that it was sent by. With another key a service says of it that there is nothing,
-- and would take it on once more.

ALTER TABLE attempts ADD COLUMN account TEXT;
