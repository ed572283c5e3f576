//! A way through a connection to a port behind it; closed when dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use openssh::{Error, ForwardType, Session, Socket};

use crate::ports::Tunnel;

/// Tries for a local port. ssh cannot be asked for any free one, so one is picked and may be taken in between.
const TRIES: usize = 8;

/// A local port that ssh listens on.
pub(super) struct SshTunnel {
    session: Arc<Session>,
    local: SocketAddr,
    target: SocketAddr,
}

/// Opens a way to the target as the host sees it.
pub(super) async fn open(session: &Arc<Session>, target: SocketAddr) -> Result<SshTunnel, Error> {
    let mut tries = 0;
    loop {
        let local = free_port().map_err(Error::ChildIo)?;
        match session.request_port_forward(ForwardType::Local, socket(local), socket(target)).await {
            Ok(()) => {
                tracing::debug!(%local, %target, "tunnel open");
                return Ok(SshTunnel { session: Arc::clone(session), local, target });
            }
            Err(Error::SshMux(_)) if tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn socket(address: SocketAddr) -> Socket<'static> {
    Socket::new(address.ip().to_string(), address.port())
}

impl Tunnel for SshTunnel {
    fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for SshTunnel {
    fn drop(&mut self) {
        // Without a runtime the program is ending, and the connection with all its tunnels too.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (session, local, target) = (Arc::clone(&self.session), self.local, self.target);
        runtime.spawn(async move {
            if let Err(error) = session.close_port_forward(ForwardType::Local, socket(local), socket(target)).await {
                tracing::debug!(%local, %target, %error, "tunnel not closed");
            }
        });
    }
}
