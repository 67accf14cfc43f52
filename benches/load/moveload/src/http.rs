//! HTTP clients.

use std::io;
use std::sync::Arc;

use benchkit::clock::now_ns;
use benchkit::http1::{Conn, request};

use crate::Plan;
use crate::tally::Tally;

/// Uses a connection for as long as the server lets it.
pub async fn keep(plan: Plan, tally: Arc<Tally>) {
    let mut open = None;
    while !plan.is_over() {
        open = get(&plan, &tally, open.take()).await;
    }
}

/// Connects anew for each request.
pub async fn renew(plan: Plan, tally: Arc<Tally>) {
    while !plan.is_over() {
        get(&plan, &tally, None).await;
    }
}

/// One request; gives the connection back that can take the next.
async fn get(plan: &Plan, tally: &Tally, open: Option<Conn>) -> Option<Conn> {
    let began = now_ns();
    match exchange(plan, open).await {
        Ok((200, conn)) => {
            tally.answered(now_ns() - began);
            conn
        }
        Ok((status, _)) => {
            tally.fail(format!("status {status}"));
            None
        }
        Err(error) => {
            tally.fail(format!("{:?}: {error}", error.kind()));
            None
        }
    }
}

async fn exchange(plan: &Plan, open: Option<Conn>) -> io::Result<(u16, Option<Conn>)> {
    let mut conn = match open {
        Some(conn) => conn,
        None => Conn::connect(plan.http.addr).await?,
    };
    conn.send(&request("GET", &plan.http.host, "/health", &[], b"")).await?;
    let head = conn.read_head().await?;
    conn.read_body(&head, |_| {}).await?;
    Ok((head.status, (!head.close).then_some(conn)))
}
