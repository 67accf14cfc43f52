-- What is kept for a while for whoever may come back for it.

CREATE TABLE kept (
    kind TEXT NOT NULL,
    kept_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    body TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    kept_at BIGINT NOT NULL,
    PRIMARY KEY (kind, kept_id)
);

CREATE INDEX kept_by_age ON kept (kind, kept_at, kept_id);
