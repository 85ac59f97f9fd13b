//! Orders to a thread and its answers, as an operator holds them.
//!
//! The thread never touches a capability: it answers by channel and wakes the operator. A failure is the
//! last that is heard of it: whoever waits for an answer goes on holding its capabilities.

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use timely::scheduling::SyncActivator;

use crate::error::{Error, Result};
use crate::host::{Host, Step, Task};

enum Answer<R> {
    Reply(R),
    Failed(Error),
    /// The thread has let go of everything it served with.
    Ended,
}

/// A thread that carries out orders of type `C` one after the other and answers some of them with an `R`.
pub struct Background<C, R> {
    /// `None` once closed.
    orders: Option<Sender<C>>,
    answers: Receiver<Answer<R>>,
    has_ended: bool,
}

impl<C: Send + 'static, R: Send + 'static> Background<C, R> {
    /// Starts it. `wake` activates the operator after every answer; take it on the worker's own thread.
    /// At most `room` orders wait; `None` leaves the bound to the caller. `serve` carries out one order.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        host: &dyn Host,
        name: String,
        room: Option<usize>,
        wake: SyncActivator,
        serve: impl FnMut(C) -> Result<Option<R>> + Send + 'static,
    ) -> Result<Background<C, R>> {
        let (orders, queue) = room.map_or_else(unbounded, bounded);
        // As many as there are orders under way: the thread never waits for the operator.
        let (sender, answers) = unbounded();
        let thread = Thread {
            name: name.clone(),
            queue,
            serve: Some(serve),
            answers: sender,
            wake,
        };
        host.start(name, Box::new(thread))?;
        Ok(Background {
            orders: Some(orders),
            answers,
            has_ended: false,
        })
    }

    /// Orders; gives the order back when there is no room, or after [`Background::close`].
    ///
    /// # Errors
    /// The order that could not be taken. One that comes after the thread has failed is taken and dropped:
    /// what failed is heard of by [`Background::answer`].
    pub fn order(&self, order: C) -> std::result::Result<(), C> {
        use crossbeam_channel::TrySendError;
        match &self.orders {
            Some(orders) => match orders.try_send(order) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
                Err(TrySendError::Full(order)) => Err(order),
            },
            None => Err(order),
        }
    }

    /// The next answer, if there is one: of an order, in the order they were given, or why the thread has
    /// ended early.
    pub fn answer(&mut self) -> Option<Result<R>> {
        match self.answers.try_recv().ok()? {
            Answer::Reply(reply) => Some(Ok(reply)),
            Answer::Failed(error) => Some(Err(error)),
            Answer::Ended => {
                self.has_ended = true;
                None
            }
        }
    }

    /// Lets the thread finish what was ordered and end.
    pub fn close(&mut self) {
        self.orders = None;
    }

    /// Whether the thread has finished in order, and let go of everything.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

struct Thread<C, R, F> {
    name: String,
    queue: Receiver<C>,
    /// `None` once it has ended.
    serve: Option<F>,
    answers: Sender<Answer<R>>,
    wake: SyncActivator,
}

impl<C, R, F> Thread<C, R, F> {
    fn say(&mut self, answer: Answer<R>) -> Step {
        if !matches!(answer, Answer::Reply(_)) {
            self.serve = None;
        }
        // Without a receiver or a worker there is no one left to tell: the dataflow was dropped.
        let _ = self.answers.send(answer);
        let _ = self.wake.activate();
        match self.serve {
            Some(_) => Step::Worked,
            None => Step::Ended,
        }
    }
}

impl<C, R, F> Task for Thread<C, R, F>
where
    C: Send,
    R: Send,
    F: FnMut(C) -> Result<Option<R>> + Send,
{
    fn step(&mut self, wait: bool) -> Step {
        let order = match wait {
            true => self.queue.recv().ok(),
            false => match self.queue.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Empty) => return Step::Idle,
                Err(TryRecvError::Disconnected) => None,
            },
        };
        let (Some(order), Some(serve)) = (order, &mut self.serve) else {
            return self.say(Answer::Ended);
        };
        match serve(order) {
            Ok(Some(reply)) => self.say(Answer::Reply(reply)),
            Ok(None) => Step::Worked,
            Err(error) => self.say(Answer::Failed(error)),
        }
    }
}

impl<C, R, F> Drop for Thread<C, R, F> {
    fn drop(&mut self) {
        if self.serve.is_some() {
            let error = Error::internal(format!("the thread `{}` panicked", self.name));
            self.say(Answer::Failed(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// Starts a thread, hands it and what it holds to `body`, on a timely worker.
    fn with_background(
        room: Option<usize>,
        body: impl Fn(&mut Background<u32, u32>, &Arc<()>) + Send + Sync + 'static,
    ) {
        timely::execute_directly(move |worker| {
            let wake = worker.sync_activator_for(vec![]);
            let held = Arc::new(());
            let inside = Arc::clone(&held);
            let serve = move |order: u32| {
                let _inside = &inside;
                match order {
                    0 => Ok(None),
                    13 => Err(Error::unreachable("the disk is away")),
                    14 => panic!("a defect"),
                    n => Ok(Some(n * 2)),
                }
            };
            let host = crate::host::Machine;
            let started = Background::start(&host, "test".to_owned(), room, wake, serve);
            body(&mut started.expect("a thread"), &held);
        });
    }

    fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited 60 s");
            std::thread::yield_now();
        }
    }

    #[test]
    fn orders_are_answered_in_order_and_everything_is_let_go_of_at_the_end() {
        with_background(None, |background, held| {
            for order in [1, 0, 2, 3] {
                background.order(order).expect("room");
            }
            background.close();
            assert_eq!(background.order(4), Err(4), "closed");
            let mut answers = Vec::new();
            wait_for(|| {
                answers.extend(background.answer().map(|a| a.expect("no failure")));
                background.has_ended().then_some(())
            });
            assert_eq!(answers, [2, 4, 6]);
            assert_eq!(Arc::strong_count(held), 1);
        });
    }

    #[test]
    fn a_failure_is_the_last_answer_and_is_no_end() {
        with_background(None, |background, _held| {
            for order in [1, 13, 2] {
                background.order(order).expect("room");
            }
            assert_eq!(wait_for(|| background.answer()).expect("answer"), 2);
            let error = wait_for(|| background.answer()).expect_err("failure");
            assert_eq!(error.message(), "the disk is away");
            assert!(background.answer().is_none());
            assert!(!background.has_ended());
        });
    }

    #[test]
    fn a_panic_is_a_failure_with_the_name_of_the_thread() {
        with_background(None, |background, _held| {
            background.order(14).expect("room");
            let error = wait_for(|| background.answer()).expect_err("failure");
            assert!(error.message().contains("`test` panicked"), "{error}");
        });
    }

    #[test]
    fn an_order_without_room_comes_back() {
        with_background(Some(1), |background, _held| {
            // The thread takes some of them; with nobody waiting in between it is soon behind.
            wait_for(|| (0..1000).find_map(|_| background.order(0).err()));
        });
    }
}
