//! The bridge from threads that may block to the async libraries: one small runtime, every wait bounded.

use std::future::Future;
use std::time::Duration;

use strandline_operators::{Error, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of the connector's runtime. Its work is waiting; what burns CPU (scans) takes turns.
const RUNTIME_THREADS: usize = 2;

/// A runtime of its own, entered only from blocking calls.
#[derive(Debug)]
pub(super) struct Blocking {
    // `None` only while it is being dropped.
    runtime: Option<Runtime>,
}

impl Blocking {
    pub(super) fn new() -> Result<Blocking> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("iceberg-io")
            .enable_all()
            .build()
            .map_err(|e| {
                Error::internal(format!(
                    "cannot start the threads of the Iceberg connector: {e}"
                ))
            })?;
        Ok(Blocking {
            runtime: Some(runtime),
        })
    }

    /// The library's handle on this runtime.
    pub(super) fn handle(&self) -> Result<iceberg::Runtime> {
        self.runtime
            .as_ref()
            .map(iceberg::Runtime::new)
            .ok_or_else(|| Error::internal("the Iceberg connector is being closed"))
    }

    /// The runtime's own handle.
    pub(super) fn tokio(&self) -> Result<Handle> {
        let runtime = self.runtime.as_ref().map(Runtime::handle);
        let runtime = runtime.cloned();
        runtime.ok_or_else(|| Error::internal("the Iceberg connector is being closed"))
    }

    /// Waits for `future`. Works from a thread of another runtime too, which it then blocks.
    pub(super) fn wait<F>(&self, future: F) -> Result<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        let runtime = self
            .runtime
            .as_ref()
            .ok_or_else(|| Error::internal("the Iceberg connector is being closed"))?;
        if Handle::try_current().is_err() {
            return Ok(runtime.block_on(future));
        }
        // tokio forbids blocking on a runtime from a thread of another one.
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join())
            .map_err(|_| Error::internal("a thread of the Iceberg connector panicked"))
    }

    /// Waits for `future`, at most `limit`; `None` when that has passed.
    pub(super) fn wait_at_most<F>(&self, limit: Duration, future: F) -> Result<Option<F::Output>>
    where
        F: Future + Send,
        F::Output: Send,
    {
        self.wait(async move { tokio::time::timeout(limit, future).await.ok() })
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        // A plain drop would panic inside of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
