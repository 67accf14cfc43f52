-- Ids and JSON are TEXT, times are Unix milliseconds, yes/no is 0 or 1. `ordinal` keeps the order in which rows came.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE sessions (
    session_key TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    ephemeral SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    message_count BIGINT NOT NULL,
    token_count BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    last_compaction BIGINT,
    aborted_last_run SMALLINT NOT NULL,
    label TEXT,
    label_folded TEXT,
    spawned_by TEXT,
    settings TEXT NOT NULL
);
CREATE INDEX sessions_by_update ON sessions (ephemeral, updated_at, session_key);
CREATE INDEX sessions_by_label ON sessions (label) WHERE label IS NOT NULL;
CREATE INDEX sessions_by_parent ON sessions (spawned_by) WHERE spawned_by IS NOT NULL;

-- Every transcript that ever held a message, so that a session is deleted with its former ones.
CREATE TABLE transcripts (
    session_id TEXT PRIMARY KEY,
    session_key TEXT NOT NULL,
    agent_id TEXT NOT NULL
);
CREATE INDEX transcripts_by_session ON transcripts (session_key);

CREATE TABLE messages (
    ordinal INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    run_id TEXT,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    content TEXT NOT NULL,
    extra TEXT,
    UNIQUE (session_id, seq)
);
CREATE INDEX messages_by_run ON messages (run_id) WHERE run_id IS NOT NULL;

-- Words of user and assistant messages. The text itself is kept once, in `messages`.
CREATE VIRTUAL TABLE message_words USING fts5 (
    words,
    content = '',
    contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 2'
);
-- Parts of the index are merged late, because writing matters more here than the last bit of search speed, and a
-- little with each write, because merging all at once would stop the writer for long.
INSERT INTO message_words (message_words, rank) VALUES ('automerge', 16);
INSERT INTO message_words (message_words, rank) VALUES ('crisismerge', 64);
CREATE TRIGGER messages_forget_words AFTER DELETE ON messages WHEN old.role IN ('user', 'assistant')
BEGIN
    DELETE FROM message_words WHERE rowid = old.ordinal;
END;

CREATE TABLE runs (
    ordinal INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    session_key TEXT NOT NULL,
    session_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    state TEXT NOT NULL,
    is_over SMALLINT NOT NULL,
    message_id TEXT NOT NULL,
    started_by TEXT NOT NULL,
    origin TEXT NOT NULL,
    options TEXT NOT NULL,
    model TEXT,
    accepted_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    iterations BIGINT NOT NULL,
    usage TEXT NOT NULL,
    next_seq BIGINT NOT NULL,
    end_reason TEXT,
    stop_cause TEXT,
    error_kind TEXT,
    error_message TEXT,
    response TEXT,
    awaiting TEXT
);
CREATE INDEX runs_by_session ON runs (session_key, ordinal);
CREATE INDEX runs_unfinished ON runs (session_key, ordinal) WHERE is_over = 0;

CREATE TABLE run_inputs (
    ordinal INTEGER PRIMARY KEY,
    input_id TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX run_inputs_by_run ON run_inputs (run_id, ordinal);

CREATE TABLE tool_calls (
    ordinal INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    call_id TEXT NOT NULL,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state TEXT NOT NULL,
    result TEXT,
    started_at BIGINT,
    ended_at BIGINT,
    UNIQUE (run_id, call_id)
);

CREATE TABLE events (
    cursor INTEGER PRIMARY KEY,
    created_at BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE tokens (
    token_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    role TEXT NOT NULL,
    device_id TEXT,
    parent TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE facts (
    ordinal INTEGER PRIMARY KEY,
    fact_id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL,
    text TEXT NOT NULL,
    normalised TEXT NOT NULL,
    session_key TEXT,
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (agent_id, normalised)
);
CREATE INDEX facts_by_time ON facts (agent_id, created_at);

CREATE TABLE documents (
    kind TEXT NOT NULL,
    document_id TEXT NOT NULL,
    body TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, document_id)
);
