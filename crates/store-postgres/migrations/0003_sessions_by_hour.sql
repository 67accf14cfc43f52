-- A session's row is written in every turn. With an index on the moment of its change each writing was a new
-- entry in all indexes of the table; on the hour it is one in an hour, and the row changes within its page.

ALTER TABLE sessions ADD COLUMN updated_hour BIGINT GENERATED ALWAYS AS (updated_at / 3600000) STORED;
ALTER TABLE sessions SET (fillfactor = 70);
DROP INDEX sessions_by_update;
CREATE INDEX sessions_by_hour ON sessions (ephemeral, updated_hour);
