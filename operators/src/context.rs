//! What the operators of one worker share.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use timely::dataflow::ProbeHandle;
use timely::order::PartialOrder;

use crate::clock::{Clock, Report, Tick};
use crate::credit::Budget;
use crate::error::{Error, Result};
use crate::failpoint::{Failpoint, reached};
use crate::host::Host;
use crate::job::JobSettings;
use crate::observed::Observed;
use crate::observed::latency::PendingLatency;
use crate::partitions::WorkerPartitions;
use crate::time::{Epoch, IngestTime};
use crate::wake::{Mailbox, Signal};

/// Called, from any thread, with the error that ends the job. Whoever calls it does nothing further but
/// hold its capabilities: a frontier never advances because something failed.
pub type OnFailure = Arc<dyn Fn(Error) + Send + Sync>;

/// What the operators of one worker share: settings, the probe of the durable frontier, and the cells by
/// which the data dataflow and the control dataflow of the clock meet.
pub struct WorkerContext {
    /// Clocks and threads.
    pub host: Arc<dyn Host>,
    /// The job's settings in force.
    pub settings: Arc<JobSettings>,
    /// This worker's index in the cluster.
    pub worker: u32,
    /// Workers in the cluster.
    pub peers: u32,
    /// Where this generation starts.
    pub start: IngestTime,
    /// Bytes in flight of this process.
    pub budget: Budget,
    /// Ends the job.
    pub on_failure: OnFailure,
    /// What people see of the run.
    pub observed: Arc<Observed>,
    /// Set by a signal: asks for a drain.
    pub stop: Arc<AtomicBool>,
    /// The durable frontier.
    pub durable: ProbeHandle<IngestTime>,
    /// The partitions read here.
    pub partitions: RefCell<WorkerPartitions>,
    /// How old the records of epochs are that are not durable yet.
    pub latency: RefCell<PendingLatency>,
    /// Ticks that the source has not applied yet.
    pub ticks: Mailbox<VecDeque<Tick>>,
    /// The report to be sent to the clock.
    pub report: Mailbox<Option<Report>>,
    /// The clock, on worker 0 only.
    pub clock: Option<RefCell<Clock>>,
    /// Set when the job's dataflow is complete, so that the control dataflow ends too.
    pub finished: Signal,
}

impl WorkerContext {
    /// Whether everything up to and including `epoch` is in a committed snapshot.
    pub fn is_durable(&self, epoch: Epoch) -> bool {
        let end = IngestTime::end_of(epoch);
        self.durable
            .with_frontier(|frontier| !frontier.iter().any(|time| time.less_equal(&end)))
    }

    /// Says that a failpoint is reached.
    ///
    /// # Errors
    /// What a test wants to go wrong here.
    pub fn reached(&self, point: Failpoint) -> Result<()> {
        reached(&*self.host, point)
    }

    /// Ends the job with `error`.
    pub fn fail(&self, error: Error) {
        (self.on_failure)(error.context(format!(
            "job {}, worker {}",
            self.settings.name, self.worker
        )));
    }
}

/// A shared [`WorkerContext`].
pub type Context = Rc<WorkerContext>;
