//! Stopping in good order: the first request lets running steps end, the second stops waiting for them.

use tokio_util::sync::CancellationToken;

/// Two grades of stopping.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    stop: CancellationToken,
    abandon: CancellationToken,
}

impl Cancel {
    /// One request more: the first stops after running steps, the second stops waiting for them.
    pub fn request(&self) {
        if self.stop.is_cancelled() {
            self.abandon.cancel();
        }
        self.stop.cancel();
    }

    /// Whether no further step may begin.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves at the first request.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Resolves at the second request.
    pub async fn abandoned(&self) {
        self.abandon.cancelled().await;
    }

    /// Turns each Ctrl-C and SIGTERM into a request, for as long as the program runs.
    pub fn on_signals(&self) {
        let cancel = self.clone();
        tokio::spawn(async move {
            let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
                return;
            };
            loop {
                tokio::select! {
                    pressed = tokio::signal::ctrl_c() => if pressed.is_err() { return },
                    _ = terminate.recv() => {}
                }
                cancel.request();
            }
        });
    }
}
