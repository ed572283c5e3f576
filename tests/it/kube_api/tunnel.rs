//! Hosts whose tunnels behave as ssh's do: the near end accepts at once, and hangs up where the far end refuses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::join;
use kubewright::ports::{Host, HostError, Hosts, Lines, Output, Script, Tunnel};
use kubewright_core::ids::HostName;
use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// So long a connection without a way back carries requests before it ends.
const DEAF: Duration = Duration::from_millis(500);

/// All hosts, and how many tunnels were opened so far.
#[derive(Clone, Default)]
pub struct TunnelHosts {
    pub opened: Arc<AtomicUsize>,
    /// Whether answers are lost from now on: requests arrive still.
    pub deaf: watch::Sender<bool>,
}

struct TunnelHost {
    name: HostName,
    all: TunnelHosts,
}

struct LoopbackTunnel {
    local: SocketAddr,
    listener: AbortHandle,
}

#[async_trait]
impl Hosts for TunnelHosts {
    async fn host(&self, name: &HostName) -> Result<Arc<dyn Host>, HostError> {
        Ok(Arc::new(TunnelHost { name: name.clone(), all: self.clone() }))
    }
}

#[async_trait]
impl Host for TunnelHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn run(&self, script: &Script, _lines: Lines<'_>) -> Result<Output, HostError> {
        panic!("nothing should run here, least of all {}", script.name)
    }

    async fn forward(&self, target: SocketAddr) -> Result<Box<dyn Tunnel>, HostError> {
        self.all.opened.fetch_add(1, Ordering::Relaxed);
        let deaf = self.all.deaf.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let deaf = deaf.subscribe();
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(target).await {
                        carry(near, far, deaf).await;
                    }
                });
            }
        });
        Ok(Box::new(LoopbackTunnel { local, listener: accepting.abort_handle() }))
    }
}

/// Both ways until it is to be deaf, then one for a while.
async fn carry(near: TcpStream, far: TcpStream, mut deaf: watch::Receiver<bool>) {
    let ((mut asks, mut hears), (mut answers, mut is_asked)) = (near.into_split(), far.into_split());
    let mut there = Box::pin(copy(&mut asks, &mut is_asked).fuse());
    let mut back = Box::pin(copy(&mut answers, &mut hears).fuse());
    tokio::select! {
        _ = join(&mut there, &mut back) => return,
        _ = deaf.wait_for(|deaf| *deaf) => {}
    }
    timeout(DEAF, there).await.ok();
}

impl Tunnel for LoopbackTunnel {
    fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for LoopbackTunnel {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
