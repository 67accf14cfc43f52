//! Telling a service manager how the process is: the datagrams of systemd's `sd_notify`.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the manager listens; nothing when there is none.
pub struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// The manager of this process, as it says in `NOTIFY_SOCKET`.
    pub fn from_environment() -> Notify {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Notify(None);
        };
        match open(name.as_encoded_bytes()) {
            Ok(opened) => Notify(Some(opened)),
            Err(error) => {
                tracing::warn!(%error, ?name, "the service manager cannot be told how the gateway is");
                Notify(None)
            }
        }
    }

    /// For processes that nobody manages.
    #[cfg(test)]
    pub fn none() -> Notify {
        Notify(None)
    }

    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    pub fn reloading(&self) {
        self.tell("RELOADING=1\nSTATUS=reading the configuration again");
    }

    pub fn waiting(&self, reason: &str) {
        // One line for each word of the protocol.
        self.tell(&format!("STATUS=waiting: {}", reason.replace('\n', " ")));
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Another process is the service from now on.
    pub fn main_process(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}\nSTATUS=replaced by process {pid}"));
    }

    fn tell(&self, state: &str) {
        let Some((socket, manager)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), manager) {
            tracing::warn!(%error, "the service manager could not be told how the gateway is");
        }
    }
}

fn open(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    use std::os::unix::ffi::OsStrExt;

    let manager = match name {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, manager))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let count = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        let notify = Notify(Some(open(path.as_os_str().as_encoded_bytes()).unwrap()));
        notify.ready();
        notify.main_process(42);
        assert_eq!(told(&at_path), "READY=1\nSTATUS=serving");
        assert_eq!(told(&at_path), "MAINPID=42\nSTATUS=replaced by process 42");

        let name = format!("patchbay-test-{}", std::process::id());
        let at_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notify = Notify(Some(open(format!("@{name}").as_bytes()).unwrap()));
        notify.waiting("two\nlines");
        assert_eq!(told(&at_name), "STATUS=waiting: two lines");
    }

    #[test]
    fn a_manager_that_is_gone_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nobody");
        Notify(Some(open(path.as_os_str().as_encoded_bytes()).unwrap())).stopping();
    }
}
