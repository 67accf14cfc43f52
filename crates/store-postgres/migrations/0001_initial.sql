-- Ids and JSON are TEXT, times are Unix milliseconds. `ordinal` keeps the order in which rows came.
-- What is sorted or compared as a key is so by code point, whatever the database was made for.
-- A text holds no NUL; the program keeps it as U+0010 U+0011, and U+0010 as U+0010 U+0012.

CREATE TABLE counters (
    name TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE sessions (
    session_key TEXT COLLATE "C" PRIMARY KEY,
    session_id TEXT COLLATE "C" NOT NULL,
    agent_id TEXT COLLATE "C" NOT NULL,
    channel TEXT NOT NULL,
    ephemeral BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    message_count BIGINT NOT NULL,
    token_count BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    last_compaction BIGINT,
    aborted_last_run BOOLEAN NOT NULL,
    label TEXT COLLATE "C",
    label_folded TEXT,
    spawned_by TEXT COLLATE "C",
    settings TEXT NOT NULL
);
CREATE INDEX sessions_by_update ON sessions (ephemeral, updated_at, session_key);
CREATE INDEX sessions_by_label ON sessions USING hash (label);
CREATE INDEX sessions_by_parent ON sessions (spawned_by) WHERE spawned_by IS NOT NULL;

-- Every transcript that ever held a message, so that a session is deleted with its former ones.
CREATE TABLE transcripts (
    session_id TEXT COLLATE "C" PRIMARY KEY,
    session_key TEXT COLLATE "C" NOT NULL,
    agent_id TEXT COLLATE "C" NOT NULL
);
CREATE INDEX transcripts_by_session ON transcripts (session_key);

CREATE TABLE messages (
    ordinal BIGINT GENERATED ALWAYS AS IDENTITY,
    message_id TEXT COLLATE "C" PRIMARY KEY,
    session_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    run_id TEXT COLLATE "C",
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    content TEXT NOT NULL,
    extra TEXT,
    -- Words of user and assistant messages, cut and folded by the program.
    words TSVECTOR,
    UNIQUE (session_id, seq)
);
CREATE INDEX messages_by_run ON messages (run_id) WHERE run_id IS NOT NULL;
-- New words wait in a list that is merged little by little, because merging much at once would stop the writer for long.
CREATE INDEX messages_by_words ON messages USING gin (words) WITH (fastupdate = on, gin_pending_list_limit = 512);

CREATE TABLE runs (
    ordinal BIGINT GENERATED ALWAYS AS IDENTITY,
    run_id TEXT COLLATE "C" PRIMARY KEY,
    session_key TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    agent_id TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL,
    is_over BOOLEAN NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
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
    awaiting TEXT,
    -- The fence of the node that drives it; 0 is nobody.
    owner BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX runs_by_session ON runs (session_key, ordinal);
CREATE INDEX runs_unfinished ON runs (session_key, ordinal) WHERE NOT is_over;

CREATE TABLE run_inputs (
    ordinal BIGINT GENERATED ALWAYS AS IDENTITY,
    input_id TEXT COLLATE "C" PRIMARY KEY,
    run_id TEXT COLLATE "C" NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX run_inputs_by_run ON run_inputs (run_id, ordinal);

CREATE TABLE tool_calls (
    ordinal BIGINT GENERATED ALWAYS AS IDENTITY,
    run_id TEXT COLLATE "C" NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    call_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    arguments TEXT NOT NULL,
    state TEXT NOT NULL,
    result TEXT,
    started_at BIGINT,
    ended_at BIGINT,
    PRIMARY KEY (run_id, call_id)
);

CREATE TABLE events (
    cursor BIGINT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE tokens (
    token_id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    role TEXT NOT NULL,
    device_id TEXT COLLATE "C",
    parent TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE facts (
    ordinal BIGINT GENERATED ALWAYS AS IDENTITY,
    fact_id TEXT COLLATE "C" PRIMARY KEY,
    agent_id TEXT COLLATE "C" NOT NULL,
    text TEXT NOT NULL,
    normalised TEXT COLLATE "C" NOT NULL,
    session_key TEXT COLLATE "C",
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
-- By hash, because a text may be longer than an ordered index takes.
CREATE INDEX facts_by_text ON facts USING hash (normalised);
CREATE INDEX facts_by_time ON facts (agent_id, created_at);

CREATE TABLE documents (
    kind TEXT COLLATE "C" NOT NULL,
    document_id TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (kind, document_id)
);

-- Nodes that share the database, and what each of them holds.
CREATE TABLE nodes (
    fence BIGINT PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    host TEXT NOT NULL,
    version TEXT NOT NULL,
    pid BIGINT NOT NULL,
    addresses TEXT NOT NULL,
    lease_ms BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    beats BIGINT NOT NULL,
    is_draining BOOLEAN NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE session_holds (
    session_key TEXT COLLATE "C" PRIMARY KEY,
    owner BIGINT NOT NULL
);

-- The last batch that each writer committed: by it a writer learns what became of a commit whose answer was lost.
-- The number of the transaction would not do, because a server that crashed gives numbers again.
CREATE TABLE batches (
    writer TEXT COLLATE "C" PRIMARY KEY,
    number BIGINT NOT NULL,
    committed_at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 30);
