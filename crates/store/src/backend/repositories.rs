//! A connection as all of its repositories.

/// Implements [`Snapshot`](crate::Snapshot) and [`Tx`](crate::Tx) for a type that is every repository
/// itself: `store::repositories!(Database);`
#[macro_export]
macro_rules! repositories {
    ($database:ty) => {
        $crate::repositories! { @implement $database;
            reads: [
                sessions: SessionQueries,
                messages: MessageQueries,
                runs: RunQueries,
                tool_calls: ToolCallQueries,
                events: EventQueries,
                tokens: TokenQueries,
                facts: FactQueries,
                documents: DocumentQueries,
                kept: KeptQueries,
                nodes: NodeQueries,
            ],
            writes: [
                sessions_mut: SessionWrites,
                messages_mut: MessageWrites,
                runs_mut: RunWrites,
                tool_calls_mut: ToolCallWrites,
                events_mut: EventWrites,
                tokens_mut: TokenWrites,
                facts_mut: FactWrites,
                documents_mut: DocumentWrites,
                kept_mut: KeptWrites,
                nodes_mut: NodeWrites,
            ],
        }
    };
    (@implement $database:ty; reads: [$($read:ident: $queries:ident,)*], writes: [$($write:ident: $writes:ident,)*],) => {
        impl $crate::Snapshot for $database {
            $(fn $read(&self) -> &dyn $crate::$queries { self })*
        }
        impl $crate::Tx for $database {
            $(fn $write(&self) -> &dyn $crate::$writes { self })*
        }
    };
}
