//! A run for machines: each event as one line of JSON (`docs/reference/output.md`).

use std::sync::{Mutex, PoisonError};

use kubewright_core::progress::Progress;

use super::Reporter;
use super::sink::Sink;

/// Reports one [`Progress`] a line.
pub struct Json {
    sink: Mutex<Sink>,
}

impl Json {
    /// A report into a sink.
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink: Mutex::new(sink) }
    }
}

impl Reporter for Json {
    fn event(&self, progress: &Progress) {
        // Progress holds text and numbers only, which JSON can always write.
        if let Ok(line) = serde_json::to_string(progress) {
            self.sink.lock().unwrap_or_else(PoisonError::into_inner).line(&line);
        }
    }

    fn close(&self) {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}
