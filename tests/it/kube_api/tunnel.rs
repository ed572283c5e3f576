//! Hosts whose tunnels behave as ssh's do: the near end accepts at once, and hangs up where the far end refuses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kubewright::ports::{Host, HostError, Hosts, Lines, Output, Script, Tunnel};
use kubewright_core::ids::HostName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// All hosts, and how many tunnels were opened so far.
#[derive(Default)]
pub struct TunnelHosts {
    pub opened: Arc<AtomicUsize>,
}

struct TunnelHost {
    name: HostName,
    opened: Arc<AtomicUsize>,
}

struct LoopbackTunnel {
    local: SocketAddr,
    listener: AbortHandle,
}

#[async_trait]
impl Hosts for TunnelHosts {
    async fn host(&self, name: &HostName) -> Result<Arc<dyn Host>, HostError> {
        Ok(Arc::new(TunnelHost { name: name.clone(), opened: Arc::clone(&self.opened) }))
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
        self.opened.fetch_add(1, Ordering::Relaxed);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        copy_bidirectional(&mut near, &mut far).await.ok();
                    }
                });
            }
        });
        Ok(Box::new(LoopbackTunnel { local, listener: accepting.abort_handle() }))
    }
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
