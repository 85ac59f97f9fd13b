//! The schema registry: Confluent's API, as Confluent, Apicurio (`/apis/ccompat/v7`), Karapace and Redpanda
//! serve it.
//!
//! | the registry | then |
//! |---|---|
//! | knows the schema | it is kept for ever: an id never gets another schema |
//! | says that it does not (404 with error 40403), three times, half a second apart | the id is denied, and its records are dead letters; asked again, it is looked up again |
//! | answers 400, 404 or 422 in other words, as often, and to `/schemas/types` as registries do | the same |
//! | cannot have given the id (0, or above 2147483647) | the same, without a request |
//! | has too much to do (429) | it is asked again; denials before and after count together |
//! | refuses our credentials (401, 403) at the start, or six times in a row later | the job ends, configuration |
//! | is not reachable, answers with another error or with nonsense | it is asked again, after a pause that grows to 10 s, for as long as it takes; the log says so |
//!
//! One request is in flight for an id, whoever asks for it, and at most 16 for all of them.

mod client;
mod lookup;
mod outage;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use strandline_operators::io::{SchemaAnswer, Schemas};
use strandline_operators::{Error, Result};
use tokio::runtime::Runtime;

use client::Client;
pub use settings::RegistrySettings;

/// Schemas kept. At one more all are forgotten, and those in use are looked up again.
const MAX_SCHEMAS: usize = 10_000;

/// An answer, or what waiting does not mend.
type Heard = Result<(u32, SchemaAnswer)>;

/// What is known of an id.
enum State {
    Known(SchemaAnswer),
    /// A look-up is under way; these wait for it.
    Asked(Vec<Waiter>),
}

/// One who waits for an answer.
#[derive(Clone)]
struct Waiter {
    answers: Sender<Heard>,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Waiter {
    fn tell(&self, heard: Heard) {
        // Nobody listens any more when the dataflow was dropped.
        let _ = self.answers.send(heard);
        if let Some(wake) = &self.wake {
            wake();
        }
    }
}

/// The registry, as one process knows it. Dropped, it stops asking.
pub struct SchemaRegistry {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// Says why the registry cannot be reached, as long as it cannot.
#[derive(Clone)]
pub struct RegistryTrouble(Arc<Shared>);

impl RegistryTrouble {
    /// The last trouble, unless the registry has answered since; or that it is still to answer, when it was asked.
    pub fn last(&self) -> Option<String> {
        let shared = &self.0;
        let is_asked = |state: &State| matches!(state, State::Asked(_));
        let silence = || {
            let is_silent = shared.states().values().any(is_asked);
            is_silent.then(|| {
                let shown = &shared.client.shown;
                format!("the schema registry at `{shown}` has not answered yet")
            })
        };
        shared.client.outage.last().or_else(silence)
    }
}

struct Shared {
    client: Client,
    states: Mutex<HashMap<u32, State>>,
}

impl Shared {
    fn states(&self) -> MutexGuard<'_, HashMap<u32, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everyone who waits, and keeps what is worth keeping.
    fn answer(&self, id: u32, found: Result<SchemaAnswer>) {
        let mut states = self.states();
        let waiting = match states.remove(&id) {
            Some(State::Asked(waiting)) => waiting,
            _ => Vec::new(),
        };
        if let Ok(answer @ SchemaAnswer::Known(_)) = &found {
            if states.len() >= MAX_SCHEMAS {
                states.retain(|_, state| matches!(state, State::Asked(_)));
            }
            states.insert(id, State::Known(answer.clone()));
        }
        drop(states);
        for waiter in waiting {
            waiter.tell(found.clone().map(|answer| (id, answer)));
        }
    }
}

impl SchemaRegistry {
    /// A client of the registry. Says in the log when it cannot be reached now.
    ///
    /// # Errors
    /// Configuration: settings that no client can be made of, or credentials that the registry refuses.
    pub fn open(settings: &RegistrySettings) -> Result<SchemaRegistry> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("schema-registry")
            .enable_all()
            .build()
            .map_err(|e| {
                Error::unreachable(format!(
                    "cannot start the thread of the schema registry: {e}"
                ))
                .hint("raise the limit of threads (ulimit -u)")
            })?;
        let client = Client::new(settings)?;
        runtime.block_on(lookup::greet(&client))?;
        Ok(SchemaRegistry {
            shared: Arc::new(Shared {
                client,
                states: Mutex::default(),
            }),
            runtime: Some(runtime),
        })
    }

    /// The registry as one worker asks it.
    pub fn schemas(&self) -> Result<Box<dyn Schemas>> {
        let runtime = self.runtime.as_ref();
        let runtime = runtime.ok_or_else(|| Error::internal("the schema registry is closed"))?;
        let (sender, answers) = unbounded();
        Ok(Box::new(WorkerSchemas {
            shared: Arc::clone(&self.shared),
            runtime: runtime.handle().clone(),
            waiter: Waiter {
                answers: sender,
                wake: None,
            },
            answers,
        }))
    }

    /// What tells of its outages.
    pub fn trouble(&self) -> RegistryTrouble {
        RegistryTrouble(Arc::clone(&self.shared))
    }

    /// Whether the registry answers now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn greet(&self) -> Result<()> {
        let runtime = self.runtime.as_ref();
        let runtime = runtime.ok_or_else(|| Error::internal("the schema registry is closed"))?;
        runtime.block_on(lookup::greet_now(&self.shared.client))
    }

    /// Looks schemas up and waits, for a command that a person waits for. An id that the registry cannot
    /// answer now is an error, not a wait.
    ///
    /// # Errors
    /// What the registry, or the way to it, answers.
    pub fn look_up(&self, id: u32) -> Result<SchemaAnswer> {
        if let Some(why) = lookup::never_given(id) {
            return Ok(SchemaAnswer::Denied(why));
        }
        if let Some(State::Known(answer)) = self.shared.states().get(&id) {
            return Ok(answer.clone());
        }
        let runtime = self.runtime.as_ref();
        let runtime = runtime.ok_or_else(|| Error::internal("the schema registry is closed"))?;
        runtime.block_on(lookup::soon(&self.shared.client, id))
    }
}

impl Drop for SchemaRegistry {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A request may hang; nobody waits for it.
            runtime.shutdown_background();
        }
    }
}

struct WorkerSchemas {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    waiter: Waiter,
    answers: Receiver<Heard>,
}

impl Schemas for WorkerSchemas {
    fn ask(&mut self, id: u32) {
        if let Some(why) = lookup::never_given(id) {
            self.waiter.tell(Ok((id, SchemaAnswer::Denied(why))));
            return;
        }
        let mut states = self.shared.states();
        match states.get_mut(&id) {
            Some(State::Known(answer)) => self.waiter.tell(Ok((id, answer.clone()))),
            Some(State::Asked(waiting)) => waiting.push(self.waiter.clone()),
            None => {
                states.insert(id, State::Asked(vec![self.waiter.clone()]));
                let shared = Arc::clone(&self.shared);
                self.runtime.spawn(async move {
                    let found = lookup::until_answered(&shared.client, id).await;
                    shared.answer(id, found);
                });
            }
        }
    }

    fn answer(&mut self) -> Result<Option<(u32, SchemaAnswer)>> {
        self.answers.try_recv().ok().transpose()
    }

    fn on_answer(&mut self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.waiter.wake = Some(wake);
    }
}
