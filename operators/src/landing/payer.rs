//! One secondary table on a thread of its own, so that nobody waits for a catalog that does not answer.
//!
//! The thread owns the table and carries out one order after the other: the commit of what the table is owed. An
//! order is given only when the one before is answered, so a table never has two commits of ours under way.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use crate::error::{Error, Result};
use crate::host::{Host, Step, Task};
use crate::landing::attempt::Patience;
use crate::landing::pending::{Owed, commit_secondary};
use crate::landing::table::VersionedTable;
use crate::progress::Progress;
use crate::time::Epoch;

/// What the table is owed, and how long it is tried.
struct Order {
    owed: Vec<Owed>,
    patience: Patience,
}

/// What came of an order.
#[derive(Debug)]
pub(super) struct Paid {
    /// The last epoch that was to be paid, with all before it.
    pub upto: Epoch,
    /// Whether the table has them.
    pub result: Result<()>,
}

/// The thread, as the committer holds it.
#[derive(Debug)]
pub(super) struct Payer {
    orders: Sender<Order>,
    answers: Receiver<Paid>,
    /// The last epoch of the order under way.
    under_way: Option<Epoch>,
}

impl Payer {
    /// Starts it. `progress` is of the generation that commits; its epoch does not matter.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start<T: VersionedTable + 'static>(
        host: &Arc<dyn Host>,
        name: &str,
        table: T,
        progress: Progress,
    ) -> Result<Payer> {
        let (orders, queue) = unbounded();
        let (sender, answers) = unbounded();
        let thread = Thread {
            host: Arc::clone(host),
            table,
            progress,
            queue,
            answers: sender,
        };
        host.start(format!("commit {name}"), Box::new(thread))?;
        Ok(Payer {
            orders,
            answers,
            under_way: None,
        })
    }

    /// Whether an order is under way.
    pub fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Has the table paid what it is owed. Only when no order is under way.
    pub fn order(&mut self, owed: Vec<Owed>, patience: Patience) {
        self.under_way = owed.last().map(|last| last.epoch);
        // A thread that is gone is heard of by its answer.
        let _ = self.orders.send(Order { owed, patience });
    }

    /// What came of the order, once it is known.
    pub fn answer(&mut self) -> Option<Paid> {
        let upto = self.under_way?;
        let paid = match self.answers.try_recv() {
            Ok(paid) => paid,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Paid {
                upto,
                result: Err(Error::internal("the thread of a table has panicked")),
            },
        };
        self.under_way = None;
        Some(paid)
    }
}

struct Thread<T> {
    host: Arc<dyn Host>,
    table: T,
    progress: Progress,
    queue: Receiver<Order>,
    answers: Sender<Paid>,
}

impl<T: VersionedTable> Task for Thread<T> {
    fn step(&mut self, wait: bool) -> Step {
        let order = match wait {
            true => self.queue.recv().ok(),
            false => match self.queue.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Empty) => return Step::Idle,
                Err(TryRecvError::Disconnected) => None,
            },
        };
        let Some(Order { owed, patience }) = order else {
            return Step::Ended;
        };
        let Some(upto) = owed.last().map(|last| last.epoch) else {
            return Step::Worked;
        };
        let result = commit_secondary(
            &*self.host,
            &mut self.table,
            &self.progress,
            &owed,
            patience,
        );
        // Without a committer there is no one left to tell: the job has ended.
        let _ = self.answers.send(Paid { upto, result });
        Step::Worked
    }
}
