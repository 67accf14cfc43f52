//! The repositories' connection, and the few ways in which they use it.
//!
//! Round trips are what a unit of work costs. So a statement whose result nobody needs is kept until
//! one comes whose result is needed, and then all go out together and are answered in order.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::TryStreamExt;
use futures_util::future::{MaybeDone, maybe_done};
use store::StoreError;
use store::backend::jobs::again;
use store::backend::log::Log;
use tokio_postgres::{Client, Error, Row, Statement};

use crate::PostgresOptions;
use crate::address::Address;
use crate::known::Known;
use crate::link::Link;
use crate::rows::{Kind, Step, gather};
use crate::values::Value;

/// A connection with all repositories on it. Belongs to one thread.
pub struct Database {
    pub(crate) link: Link,
    pub(crate) log: Log,
    /// How many of the events of `log` were given to the database already.
    pub(crate) logged: Cell<usize>,
    /// What needs not be asked in the transaction at hand.
    pub(crate) known: RefCell<Known>,
    /// Statements that go out before the next one whose result is needed.
    pub(crate) unsent: RefCell<Vec<Step>>,
    /// Why the transaction at hand cannot be kept: an answer failed that nobody waited for, or the
    /// connection ended.
    broken: RefCell<Option<StoreError>>,
    /// Why the unit of work at hand cannot be kept: the server refuses all statements after one that failed.
    failed: RefCell<Option<StoreError>>,
}

store::repositories!(Database);

/// Rows that came, and the number of rows that were changed.
pub type Answer = (Vec<Row>, u64);

impl Database {
    pub fn open(address: &Address, options: &PostgresOptions) -> Result<Self, StoreError> {
        let link = Link::open(address, options)?;
        Ok(Self {
            link,
            log: Log::default(),
            logged: Cell::new(0),
            known: RefCell::default(),
            unsent: RefCell::default(),
            broken: RefCell::default(),
            failed: RefCell::default(),
        })
    }

    /// Changes rows, without waiting to hear how many. A failure takes the whole transaction with it.
    pub fn defer(&self, sql: &str, values: Vec<Value>) -> Result<(), StoreError> {
        self.check()?;
        let statement = self.prepared(sql)?;
        self.unsent.borrow_mut().push(Step::Statement(statement, values));
        Ok(())
    }

    /// As [`Database::defer`], for a row that goes out with others of its kind; `sql` is the same for all of a
    /// kind. Until something is asked, rows are written in the order of their kinds.
    pub fn defer_row(&self, kind: Kind, sql: &str, row: Vec<Value>) -> Result<(), StoreError> {
        self.check()?;
        let statement = self.prepared(sql)?;
        self.unsent.borrow_mut().push(Step::Row(statement, kind, row));
        Ok(())
    }

    /// As [`Database::defer`], for statements without parameters.
    pub fn control(&self, sql: &'static str) {
        self.unsent.borrow_mut().push(Step::Control(sql));
    }

    /// Changes rows; gives how many.
    pub fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(self.ask(sql, values)?.1)
    }

    pub fn row<T>(
        &self,
        sql: &str,
        values: Vec<Value>,
        read: impl FnOnce(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.ask(sql, values)?.0.first().map(read).transpose()
    }

    pub fn rows<T>(
        &self,
        sql: &str,
        values: Vec<Value>,
        read: impl FnMut(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.ask(sql, values)?.0.iter().map(read).collect()
    }

    /// A number that a query always gives.
    pub fn number(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        let value = self.row(sql, values, |row| crate::columns::count(row, 0))?;
        value.ok_or_else(|| StoreError::Corrupt(format!("no row for `{sql}`")))
    }

    /// Sends what is unsent and waits for its answers.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.check()?;
        self.exchange(Vec::new()).map(drop)
    }

    /// Asks several questions at once; gives their answers in order.
    pub fn ask_all(&self, questions: Vec<(String, Vec<Value>)>) -> Result<Vec<Answer>, StoreError> {
        self.check()?;
        let prepared = |(sql, values): (String, _)| Ok((self.prepared(&sql)?, values));
        let questions = questions.into_iter().map(prepared).collect::<Result<_, StoreError>>()?;
        self.exchange(questions)
    }

    fn ask(&self, sql: &str, values: Vec<Value>) -> Result<Answer, StoreError> {
        self.check()?;
        let statement = self.prepared(sql)?;
        let mut answers = self.exchange(vec![(statement, values)])?;
        Ok(answers.pop().unwrap_or_default())
    }

    fn prepared(&self, sql: &str) -> Result<Statement, StoreError> {
        self.link.statement(sql).map_err(|error| self.fail(error))
    }

    fn exchange(&self, questions: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Answer>, StoreError> {
        let steps = gather(self.unsent.take());
        let exchanged = exchange(self.link.client(), &steps, &questions);
        match self.link.wait(exchanged).map_err(|error| self.fail(error))? {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(error)) => Err(self.fail(self.link.explain(error))),
            Err(error) => Err(self.breaks(self.link.explain(error))),
        }
    }

    /// The unit of work cannot go on; with a connection that ended, nor can its transaction.
    fn fail(&self, error: StoreError) -> StoreError {
        if self.link.is_closed() {
            return self.breaks(error);
        }
        *self.failed.borrow_mut() = Some(again(&error));
        error
    }

    fn breaks(&self, error: StoreError) -> StoreError {
        *self.broken.borrow_mut() = Some(again(&error));
        error
    }

    /// Nothing is sent to a transaction that the server has given up.
    fn check(&self) -> Result<(), StoreError> {
        match self.broken.borrow().as_ref().or(self.failed.borrow().as_ref()) {
            Some(error) => Err(again(error)),
            None => Ok(()),
        }
    }

    /// Why the transaction at hand is lost; `None` while it is not.
    pub fn broken(&self) -> Option<StoreError> {
        self.broken.borrow().as_ref().map(again)
    }

    /// Why the unit at hand cannot be kept, whatever it says. Forgets it: an undone unit leaves no trace.
    pub fn take_failed(&self) -> Option<StoreError> {
        self.failed.borrow_mut().take()
    }

    /// Begins anew after a transaction, whatever became of it.
    pub fn forget(&self) {
        self.unsent.borrow_mut().clear();
        self.broken.borrow_mut().take();
        self.failed.borrow_mut().take();
        self.known.borrow_mut().forget();
        self.log.forget();
        self.logged.set(0);
    }
}

/// Sends everything before it waits for the first answer; then takes the answers in order. The outer
/// error is one of `steps`, the inner one of `questions`.
async fn exchange(
    client: &Client,
    steps: &[Step],
    questions: &[(Statement, Vec<Value>)],
) -> Result<Result<Vec<Answer>, Error>, Error> {
    let mut sent: Vec<Pin<Box<MaybeDone<_>>>> =
        steps.iter().map(|step| Box::pin(maybe_done(run(client, step)))).collect();
    let mut asked: Vec<Pin<Box<MaybeDone<_>>>> =
        questions.iter().map(|(statement, values)| Box::pin(maybe_done(answer(client, statement, values)))).collect();
    // The first look at each puts it on the way.
    std::future::poll_fn(|context| {
        sent.iter_mut().for_each(|step| _ = step.as_mut().poll(context));
        asked.iter_mut().for_each(|question| _ = question.as_mut().poll(context));
        Poll::Ready(())
    })
    .await;
    let mut failed = None;
    for mut step in sent {
        step.as_mut().await;
        if let Some(Err(error)) = step.as_mut().take_output() {
            // Those behind it fail because of it.
            failed.get_or_insert(error);
        }
    }
    let mut answers = Vec::with_capacity(asked.len());
    for mut question in asked {
        question.as_mut().await;
        answers.extend(question.as_mut().take_output());
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(answers.into_iter().collect()),
    }
}

async fn run(client: &Client, step: &Step) -> Result<(), Error> {
    match step {
        Step::Control(sql) => client.batch_execute(sql).await,
        Step::Statement(statement, values) | Step::Row(statement, _, values) => {
            answer(client, statement, values).await.map(drop)
        }
    }
}

async fn answer(client: &Client, statement: &Statement, values: &[Value]) -> Result<Answer, Error> {
    let mut stream = pin!(client.query_raw(statement, values).await?);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        rows.push(row);
    }
    Ok((rows, stream.rows_affected().unwrap_or(0)))
}
