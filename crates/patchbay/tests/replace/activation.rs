//! Sockets that a service manager made.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::clients::Http;
use crate::support::{Home, PATIENCE, Server};

/// Starts the program as a service manager does: the socket is its descriptor 3.
fn activated(home: &Home, listener: TcpListener, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    home.prepare(&mut command);
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_patchbay")]).args(arguments);
    command.env("LISTEN_FDNAMES", name).stdin(Stdio::from(OwnedFd::from(listener)));
    command
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn passed_sockets_are_served_by_name_and_by_address() {
    let home = Home::new();
    let (socket, address) = listener();
    let server = Server::start(activated(&home, socket, "aleph", &[]));
    assert_eq!(server.address("aleph"), address, "the name decides, whatever is configured");
    assert_eq!(Http::new(&address).get("/readyz").await.0, 200);
    server.stop();

    let (socket, address) = listener();
    let flag = format!("comis={address}");
    let server = Server::start(activated(&home, socket, "patchbay.socket", &["--listen", &flag]));
    assert_eq!(server.address("comis"), address);
    assert_eq!(Http::new(&address).get("/readyz").await.0, 200);
    server.stop();
}

#[test]
fn a_passed_socket_that_no_listener_wants_is_refused() {
    let home = Home::new();
    let (socket, address) = listener();
    let output = activated(&home, socket, "web", &["--listen", "aleph=127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(&address) && said.contains("FileDescriptorName="), "{said}");
}

#[test]
fn the_service_manager_is_told_of_start_replacement_and_stop() {
    let home = Home::new();
    let path = home.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut buffer = [0; 512];
        let count = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).lines().next().unwrap().to_owned()
    };
    let with_manager = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        command.env("NOTIFY_SOCKET", &path);
        Server::start(command)
    };
    let old = with_manager(&["--listen", "aleph=127.0.0.1:0"]);
    assert_eq!(told(), "READY=1");
    old.signal("HUP");
    assert_eq!([told(), told()], ["RELOADING=1", "READY=1"]);
    let new = with_manager(&["--replace"]);
    assert_eq!([told(), told()], [format!("MAINPID={}", new.child.id()), String::from("READY=1")]);
    old.ended();
    new.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    new.ended();
}
