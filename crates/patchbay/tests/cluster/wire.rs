//! A wire that can be cut and mended, swallow what is put into it, and be slow.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Passes everything on, each piece so much later.
    Whole(Duration),
    /// Whoever is connected is cut off, and whoever comes too.
    Cut,
    /// Nothing comes through, and nobody is told.
    Hole,
}

/// Passes connections on to a listener of this machine.
pub struct Wire {
    port: u16,
    target: Arc<Mutex<Option<u16>>>,
    state: watch::Sender<State>,
    /// It is cut after so many more bytes from the target.
    budget: Arc<Mutex<Option<usize>>>,
    task: JoinHandle<()>,
}

impl Wire {
    /// To a port of 127.0.0.1; without one, until [`Wire::lead_to`] names it, to nobody.
    pub async fn to(target: Option<u16>) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let target = Arc::new(Mutex::new(target));
        let (state, _) = watch::channel(State::Whole(Duration::ZERO));
        let budget = Arc::default();
        let (towards, tap) = (Arc::clone(&target), Tap { state: state.clone(), budget: Arc::clone(&budget) });
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let target = *towards.lock().unwrap_or_else(PoisonError::into_inner);
                connections.spawn(carry(client, target, tap.clone()));
            }
        });
        Wire { port, target, state, budget, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn lead_to(&self, port: u16) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(port);
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Swallows everything from here on, in both directions, as a network does that is gone.
    pub fn swallow(&self) {
        self.state.send_replace(State::Hole);
    }

    /// Is cut in the middle of what the target says, after so many bytes; what this gives waits for that
    /// and mends it.
    pub fn cut_after(&self, bytes: usize) -> impl Future<Output = ()> + use<> {
        *self.budget.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        let state = self.state.clone();
        async move {
            let _ = state.subscribe().wait_for(|state| *state == State::Cut).await;
            state.send_replace(State::Whole(Duration::ZERO));
        }
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Whole(Duration::ZERO));
    }

    pub fn slow(&self, by: Duration) {
        self.state.send_replace(State::Whole(by));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What goes through is seen here.
#[derive(Clone)]
struct Tap {
    state: watch::Sender<State>,
    budget: Arc<Mutex<Option<usize>>>,
}

impl Tap {
    /// So many bytes came from the target; gives how many of them may go on.
    fn spend(&self, bytes: usize) -> usize {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = *budget else { return bytes };
        if bytes < left {
            *budget = Some(left - bytes);
            return bytes;
        }
        *budget = None;
        self.state.send_replace(State::Cut);
        left
    }
}

async fn carry(client: TcpStream, target: Option<u16>, tap: Tap) {
    let mut state = tap.state.subscribe();
    let Some(port) = target.filter(|_| *state.borrow() != State::Cut) else { return };
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await else { return };
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = state.wait_for(|state| *state == State::Cut) => {}
        _ = async { tokio::join!(one_way(from_client, to_server, &tap, false), one_way(from_server, to_client, &tap, true)) } => {}
    }
}

/// To the end of one direction; the other one may go on, so that last words are heard.
async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, tap: &Tap, is_answer: bool) {
    let mut state = tap.state.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    let mut is_open = true;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // What was in a hole when it was closed comes late, as it does in a network.
        let now = state.wait_for(|state| *state != State::Hole).await.map_or(State::Cut, |state| *state);
        if let State::Whole(delay) = now
            && !delay.is_zero()
        {
            tokio::time::sleep(delay).await;
        }
        let count = if is_answer { tap.spend(count) } else { count };
        // What nobody takes any more is still read: a socket that is closed with bytes in it loses others.
        is_open = is_open && to.write_all(&buffer[..count]).await.is_ok();
    }
    let _ = to.shutdown().await;
}
