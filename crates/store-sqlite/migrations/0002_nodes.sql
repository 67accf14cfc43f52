-- Nodes that share the database, and what each of them holds. A run that was there before belongs to nobody.

CREATE TABLE nodes (
    fence BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    version TEXT NOT NULL,
    pid BIGINT NOT NULL,
    addresses TEXT NOT NULL,
    lease_ms BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    beats BIGINT NOT NULL,
    is_draining SMALLINT NOT NULL
);

CREATE TABLE session_holds (
    session_key TEXT PRIMARY KEY,
    owner BIGINT NOT NULL
);

ALTER TABLE runs ADD COLUMN owner BIGINT NOT NULL DEFAULT 0;
