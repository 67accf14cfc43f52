//! One connection, and the thread-bound runtime that drives it.
//!
//! Units of work are plain functions, so a thread waits for each answer. It drives the connection
//! itself while it waits: no other thread is woken for a round trip.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use store::StoreError;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Statement};

use crate::PostgresOptions;
use crate::address::Address;
use crate::failure::{failure, is_lost, with_causes};
use crate::refusal::refusal;
use crate::tls::MakeTls;

/// Prepared statements kept ready by each connection. Their texts are ours and fewer than this, but for
/// combinations of filters.
const STATEMENTS_MAX: usize = 256;

/// How much longer than a statement may take we wait for its answer, before the server counts as hanging.
const ANSWER_MARGIN: Duration = Duration::from_secs(10);

/// Every question we ask has an index. While a table is small the server would rather read all of it, and
/// keep to that plan for a prepared statement until long after the table has grown. Nor does the best way
/// depend on the values, so that each statement is planned once, not each time. What is joined is a few rows
/// with those that they name, never a table with all of another.
const PLANS: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
    SET plan_cache_mode = force_generic_plan";

/// How long a connection that is closed in order may take to say so.
const FAREWELL: Duration = Duration::from_millis(500);

/// A connection. Belongs to one thread.
pub struct Link {
    runtime: Runtime,
    client: Client,
    /// The task that carries bytes; it ends with the connection.
    carrier: RefCell<Option<JoinHandle<Result<(), tokio_postgres::Error>>>>,
    statements: RefCell<HashMap<String, Statement>>,
    answer_timeout: Duration,
    /// The server has sent us away or does not answer; what comes later is not listened to.
    is_lost: Cell<bool>,
}

impl Link {
    /// Connects once. Must not be called from inside another runtime.
    pub fn open(address: &Address, options: &PostgresOptions) -> Result<Link, StoreError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::Unavailable(format!("no connection can be made: {error}")))?;
        let tls = MakeTls::new(&address.trust)?;
        let patience = address.config.get_connect_timeout().copied().unwrap_or(options.connect_timeout) * 2;
        let connected = runtime.block_on(async { tokio::time::timeout(patience, address.config.connect(tls)).await });
        let (client, connection) = match connected {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(refusal(address, &error)),
            Err(_) => {
                return Err(StoreError::Unavailable(format!("{} does not answer", address.shown())));
            }
        };
        let carrier = runtime.spawn(connection);
        let link = Link {
            runtime,
            client,
            carrier: RefCell::new(Some(carrier)),
            statements: RefCell::default(),
            answer_timeout: options.statement_timeout + ANSWER_MARGIN,
            is_lost: Cell::new(false),
        };
        let settings = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
             SET client_min_messages = warning; {PLANS}",
            options.statement_timeout.as_millis(),
            options.lock_timeout.as_millis(),
            options.idle_timeout.as_millis()
        );
        link.simple(&settings)?;
        Ok(link)
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for an answer, and carries bytes meanwhile.
    pub fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, StoreError> {
        let answered = self.runtime.block_on(async { tokio::time::timeout(self.answer_timeout, answer).await });
        answered.map_err(|_| {
            self.is_lost.set(true);
            StoreError::Unavailable(format!("the server has not answered for {:?}", self.answer_timeout))
        })
    }

    /// Runs statements without parameters, and waits for them.
    pub fn simple(&self, sql: &str) -> Result<(), StoreError> {
        self.wait(self.client.batch_execute(sql))?.map_err(|error| self.explain(error))
    }

    /// A statement that the server has parsed already, or now does.
    pub fn statement(&self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.wait(self.client.prepare(sql))?.map_err(|error| self.explain(error))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS_MAX {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Looks, without waiting, whether the server has ended the connection meanwhile.
    pub fn is_closed(&self) -> bool {
        if self.is_lost.get() || self.client.is_closed() {
            return true;
        }
        // The first turn sees what has arrived, the second lets the carrier read it.
        self.runtime.block_on(async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
        self.client.is_closed()
    }

    /// An error in the store's words; for a connection that ended, with what the server said at its end.
    pub fn explain(&self, error: tokio_postgres::Error) -> StoreError {
        if is_lost(&error) {
            self.is_lost.set(true);
        }
        if error.is_closed()
            && let Some(carrier) = self.carrier.borrow_mut().take_if(|carrier| carrier.is_finished())
            && let Ok(Err(cause)) = self.runtime.block_on(carrier)
        {
            return match cause.as_db_error() {
                Some(told) => StoreError::Unavailable(format!("the server ended the connection: {}", told.message())),
                None => StoreError::Unavailable(with_causes(&cause)),
            };
        }
        failure(error)
    }

    /// Ends the connection in order, as far as the server takes part.
    pub fn close(self) {
        let Link { runtime, client, carrier, statements, .. } = self;
        statements.borrow_mut().clear();
        drop(client);
        if let Some(carrier) = carrier.into_inner() {
            // A server that hangs is left alone; the socket is closed either way.
            let _ = runtime.block_on(async { tokio::time::timeout(FAREWELL, carrier).await });
        }
        runtime.shutdown_background();
    }
}
