//! The repositories of a connection, as the store's traits hand them out.

use store::{
    DocumentQueries, DocumentWrites, EventQueries, EventWrites, FactQueries, FactWrites, MessageQueries, MessageWrites,
    NodeQueries, NodeWrites, RunQueries, RunWrites, SessionQueries, SessionWrites, Snapshot, TokenQueries, TokenWrites,
    ToolCallQueries, ToolCallWrites, Tx,
};

use crate::connection::Database;

impl Snapshot for Database {
    fn sessions(&self) -> &dyn SessionQueries {
        self
    }
    fn messages(&self) -> &dyn MessageQueries {
        self
    }
    fn runs(&self) -> &dyn RunQueries {
        self
    }
    fn tool_calls(&self) -> &dyn ToolCallQueries {
        self
    }
    fn events(&self) -> &dyn EventQueries {
        self
    }
    fn tokens(&self) -> &dyn TokenQueries {
        self
    }
    fn facts(&self) -> &dyn FactQueries {
        self
    }
    fn documents(&self) -> &dyn DocumentQueries {
        self
    }
    fn nodes(&self) -> &dyn NodeQueries {
        self
    }
}

impl Tx for Database {
    fn sessions_mut(&self) -> &dyn SessionWrites {
        self
    }
    fn messages_mut(&self) -> &dyn MessageWrites {
        self
    }
    fn runs_mut(&self) -> &dyn RunWrites {
        self
    }
    fn tool_calls_mut(&self) -> &dyn ToolCallWrites {
        self
    }
    fn events_mut(&self) -> &dyn EventWrites {
        self
    }
    fn tokens_mut(&self) -> &dyn TokenWrites {
        self
    }
    fn facts_mut(&self) -> &dyn FactWrites {
        self
    }
    fn documents_mut(&self) -> &dyn DocumentWrites {
        self
    }
    fn nodes_mut(&self) -> &dyn NodeWrites {
        self
    }
}
