//! Closing a listener without resets: a client that the kernel connects between the last accept and the close
//! would send its request to nobody.
//!
//! This concerns only new connections, not those that are already open.

use std::io;

use tokio::net::TcpListener;

/// Makes the kernel ignore new connection attempts from now on, as if the packets were lost: clients try again,
/// and find the listener closed or its successor in place. Handshakes that have begun complete.
///
/// Fails if the kernel has no such filter; then all clients still connect.
#[cfg(target_os = "linux")]
pub(super) fn let_nobody_new_in(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // Classic BPF over the TCP header (linux/bpf_common.h): drops packets with SYN, and passes the rest.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&program)
}

/// Makes the kernel ignore new connection attempts from now on: not supported on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn let_nobody_new_in(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn earlier_connections_are_served_and_later_ones_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut before = TcpStream::connect(address).unwrap();
        let_nobody_new_in(&listener).unwrap();
        let later = tokio::task::spawn_blocking(move || TcpStream::connect_timeout(&address, SOON));
        assert_eq!(later.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        before.write_all(b"ask").unwrap();
        let (mut taken, _) = listener.accept().await.unwrap();
        let mut asked = [0; 3];
        taken.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"ask");
    }
}
