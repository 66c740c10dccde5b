//! Listening sockets, bound early and opened late.

use std::{
    io,
    net::{self, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections the kernel keeps for a listener that is slow to accept.
pub const BACKLOG: u32 = 4096;

/// A socket that has its address but takes no connections yet.
///
/// Binding first and listening later makes a busy port an error at once, while clients are refused until the
/// application can serve them.
///
/// # Examples
///
/// ```
/// use hurricane_core::{BACKLOG, Listener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(([127, 0, 0, 1], 0), BACKLOG)?;
/// println!("will serve on {}", listener.local_addr());
/// // Migrations, caches, whatever takes its time, and then:
/// let listener = listener.listen()?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    what: &'static str,
    socket: Socket,
    addr: SocketAddr,
    backlog: u32,
}

/// An address could not be had.
#[derive(Debug, thiserror::Error)]
#[error("failed to bind the {what} to {addr}")]
pub struct BindError {
    what: &'static str,
    addr: SocketAddr,
    source: io::Error,
}

// === impl Listener ===

impl Listener {
    /// Takes the address; port 0 lets the system choose, and `[::]` takes IPv4 as well.
    ///
    /// # Errors
    ///
    /// The address is in use, or not to be had for another reason.
    pub fn bind(addr: impl Into<SocketAddr>, backlog: u32) -> Result<Self, BindError> {
        Self::bind_as("application", addr.into(), backlog)
    }

    pub(crate) fn bind_as(
        what: &'static str,
        addr: SocketAddr,
        backlog: u32,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError { what, addr, source };
        let socket = open(addr).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        Ok(Self {
            what,
            // Only IP addresses were asked for.
            addr: bound.as_socket().unwrap_or(addr),
            socket,
            backlog,
        })
    }

    /// The address, with the port the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Begins to take connections; must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Another process has begun to listen on the address since it was bound.
    pub fn listen(self) -> Result<TcpListener, BindError> {
        let (what, addr) = (self.what, self.addr);
        TcpListener::from_std(self.listen_std()?).map_err(|source| BindError { what, addr, source })
    }

    pub(crate) fn listen_std(self) -> Result<net::TcpListener, BindError> {
        // The kernel takes a C int, and cuts what is above its own limit.
        let backlog = i32::try_from(self.backlog).unwrap_or(i32::MAX);
        self.socket.listen(backlog).map_err(|source| BindError {
            what: self.what,
            addr: self.addr,
            source,
        })?;
        Ok(self.socket.into())
    }
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last process's connections to time out.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// How long to wait after an accept that failed, for one of a process's connections to end.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether an accept failed because of that one connection, not because of this process.
pub(crate) fn is_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_busy_port_is_an_error_that_names_it() {
        let first = Listener::bind((Ipv4Addr::LOCALHOST, 0), BACKLOG).unwrap();
        let addr = first.local_addr();
        let _open = first.listen().unwrap();
        let error = Listener::bind(addr, BACKLOG).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("failed to bind the application to {addr}")
        );
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn connections_are_refused_until_it_listens() {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0), BACKLOG).unwrap();
        let addr = listener.local_addr();
        let refused = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _open = listener.listen().unwrap();
        TcpStream::connect(addr).await.unwrap();
    }

    #[tokio::test]
    async fn the_unspecified_ipv6_address_takes_ipv4_too() {
        let Ok(listener) = Listener::bind((Ipv6Addr::UNSPECIFIED, 0), BACKLOG) else {
            return; // A machine without IPv6.
        };
        let port = listener.local_addr().port();
        let _open = listener.listen().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
    }
}
