//! A wire that is cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes connections on to a listener and cuts each after as many bytes as it was told.
pub struct CuttingProxy {
    pub address: SocketAddr,
    bytes_left: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl CuttingProxy {
    /// # Panics
    /// When no loopback port is free.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let bytes_left = Arc::new(AtomicU64::new(u64::MAX));
        let limit = Arc::clone(&bytes_left);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let limit = limit.load(Ordering::SeqCst);
                connections.spawn(async move {
                    // A reset on either side is what this proxy is for.
                    let _ = pass(client, target, limit).await;
                });
            }
        });
        Self { address, bytes_left, task }
    }

    /// How many bytes from the gateway each connection that is made from now on lets through; then
    /// both of its ends are closed without a word.
    pub fn cut_after(&self, bytes: u64) {
        self.bytes_left.store(bytes, Ordering::SeqCst);
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, target: SocketAddr, limit: u64) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let up = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(|_| ()) };
    let down = async {
        let mut limited = from_server.take(limit);
        let mut buffer = [0; 512];
        loop {
            let count = limited.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            to_client.write_all(&buffer[..count]).await?;
        }
    };
    // Whichever ends first takes the other with it.
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}
