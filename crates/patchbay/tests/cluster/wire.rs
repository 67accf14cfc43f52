//! A wire that can be cut and mended, and be slow.

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
}

/// Passes connections on to a listener of this machine.
pub struct Wire {
    port: u16,
    target: Arc<Mutex<Option<u16>>>,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Wire {
    /// To a port of 127.0.0.1; without one, until [`Wire::lead_to`] names it, to nobody.
    pub async fn to(target: Option<u16>) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let target = Arc::new(Mutex::new(target));
        let (state, watched) = watch::channel(State::Whole(Duration::ZERO));
        let towards = Arc::clone(&target);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let target = *towards.lock().unwrap_or_else(PoisonError::into_inner);
                connections.spawn(carry(client, target, watched.clone()));
            }
        });
        Wire { port, target, state, task }
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

async fn carry(client: TcpStream, target: Option<u16>, mut state: watch::Receiver<State>) {
    let Some(port) = target.filter(|_| *state.borrow() != State::Cut) else { return };
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await else { return };
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (state.clone(), state.clone());
    tokio::select! {
        _ = state.wait_for(|state| *state == State::Cut) => {}
        _ = async { tokio::join!(one_way(from_client, to_server, up), one_way(from_server, to_client, down)) } => {}
    }
}

/// To the end of one direction; the other one may go on, so that last words are heard.
async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, state: watch::Receiver<State>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut is_open = true;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let state = *state.borrow();
        if let State::Whole(delay) = state
            && !delay.is_zero()
        {
            tokio::time::sleep(delay).await;
        }
        // What nobody takes any more is still read: a socket that is closed with bytes in it loses others.
        is_open = is_open && to.write_all(&buffer[..count]).await.is_ok();
    }
    let _ = to.shutdown().await;
}
