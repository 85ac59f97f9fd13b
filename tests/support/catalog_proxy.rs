//! A proxy between the engine and a REST catalog: it loses, delays and forges the answers to commits, by a
//! schedule or by a seed, and counts what it did.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::http::{Answer, Request};
use super::wait::wait_until;

/// How often the proxy looks for a connection.
const ACCEPT_POLL: Duration = Duration::from_millis(2);

/// How long connections are refused after an [`Answered::Refused`].
const REFUSED_FOR: Duration = Duration::from_millis(400);

/// Whether, and when, the catalog gets a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It never does.
    Never,
    /// At once.
    Now,
    /// When the table has been read and before the reader knows: the reader finds it not there.
    AfterLookUp,
    /// When the test says so ([`CatalogProxy::release`]).
    WhenReleased,
}

/// What the client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The connection is closed without a byte.
    Dropped,
    /// This status, with Iceberg's error document.
    Status(u16),
    /// 200, and a page of HTML.
    Html,
    /// 200, and a document that is JSON but no table.
    OtherJson,
    /// 200, and the first half of the answer under a length that fits it.
    HalfADocument,
    /// 200, and the first half of the answer; then the connection is closed.
    DroppedMidBody,
    /// 200, and all of the answer under half its length.
    WrongLength,
    /// Nothing, for longer than the client waits.
    Stalled,
    /// The connection is closed, and further ones are refused for a while.
    Refused,
}

/// What is done to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the catalog gets.
    pub applied: Applied,
    /// What the client gets.
    pub answered: Answered,
}

/// A fault that was injected.
#[derive(Clone, Debug)]
pub struct Injected {
    /// The fault.
    pub fault: Fault,
    /// The name of the table, without its namespace.
    pub table: String,
    /// The snapshot that the commit adds.
    pub snapshot_id: Option<i64>,
    /// What the catalog said to it, once it got it.
    pub upstream: Option<u16>,
}

/// Which requests are hit next.
enum Schedule {
    Off,
    /// One commit in `every` of each table, in this order; of one table only where it is named.
    Queue {
        faults: VecDeque<Fault>,
        every: usize,
        table: Option<String>,
    },
    /// One commit to this table, the first that brings a merged manifest.
    Merge {
        fault: Fault,
        table: String,
    },
    /// This percentage of commits and of readings of a table.
    Seeded {
        rng: Box<StdRng>,
        percent: u32,
    },
}

/// A commit that the catalog is still to get.
struct Held {
    request: Request,
    table: String,
    /// Its place in `injected`.
    index: usize,
    client: TcpStream,
}

struct State {
    schedule: Schedule,
    seen: HashMap<String, usize>,
    injected: Vec<Injected>,
    after_look_up: Vec<Held>,
    held: Vec<Held>,
    /// Commits that the catalog made, by the name of the table.
    made: Vec<String>,
    refusing_until: Option<Instant>,
}

/// The proxy. Ends with the value.
pub struct CatalogProxy {
    uri: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    state: Mutex<State>,
    ended: AtomicBool,
}

impl CatalogProxy {
    /// Starts a proxy before the catalog at `uri`; until told otherwise it changes nothing.
    #[track_caller]
    pub fn before(uri: &str) -> CatalogProxy {
        // A loopback address of its own: the port can be given up and taken again, nobody else is there.
        let (a, b): (u8, u8) = (rand::random_range(1..=254), rand::random_range(1..=254));
        let listener = TcpListener::bind((Ipv4Addr::new(127, 77, a, b), 0))
            .expect("a port of the proxy's own");
        let shared = Arc::new(Shared {
            upstream: uri
                .trim_start_matches("http://")
                .trim_end_matches('/')
                .to_owned(),
            state: Mutex::new(State {
                schedule: Schedule::Off,
                seen: HashMap::new(),
                injected: Vec::new(),
                after_look_up: Vec::new(),
                held: Vec::new(),
                made: Vec::new(),
                refusing_until: None,
            }),
            ended: AtomicBool::new(false),
        });
        let address = listener.local_addr().expect("the proxy's address");
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(listener, &accepting));
        CatalogProxy {
            uri: format!("http://{address}"),
            shared,
        }
    }

    /// Where it listens.
    pub fn uri(&self) -> String {
        self.uri.clone()
    }

    /// Injects these faults in their order, into one commit of every `every` of each table: tables that take turns are all hit.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>, every: usize) {
        self.state().schedule = Schedule::Queue {
            faults: faults.into_iter().collect(),
            every,
            table: None,
        };
    }

    /// Injects this fault into the next commit to `table` (its name without the namespace) that puts a merged manifest in
    /// the place of others, the first time that it is tried.
    pub fn inject_into_merge(&self, table: &str, fault: Fault) {
        self.state().schedule = Schedule::Merge {
            fault,
            table: table.to_owned(),
        };
    }

    /// Holds the next commit to `table` (its name without the namespace) back until it is released. Until
    /// then its client gets no answer, and never gets one.
    pub fn hold_next(&self, table: &str) {
        self.state().schedule = Schedule::Queue {
            faults: VecDeque::from([Fault {
                applied: Applied::WhenReleased,
                answered: Answered::Stalled,
            }]),
            every: 1,
            table: Some(table.to_owned()),
        };
    }

    /// Injects random faults into this percentage of commits and of readings of tables.
    pub fn inject_from_seed(&self, seed: u64, percent: u32) {
        eprintln!("faults from seed {seed}");
        self.state().schedule = Schedule::Seeded {
            rng: Box::new(StdRng::seed_from_u64(seed)),
            percent,
        };
    }

    /// Injects nothing any more.
    pub fn calm(&self) {
        self.state().schedule = Schedule::Off;
    }

    /// Refuses every connection from now on.
    pub fn go_away(&self) {
        self.state().refusing_until = Some(Instant::now() + Duration::from_secs(3600));
    }

    /// What was injected so far.
    pub fn injected(&self) -> Vec<Injected> {
        self.state().injected.clone()
    }

    /// The faults that are still to be injected.
    pub fn left(&self) -> usize {
        match &self.state().schedule {
            Schedule::Queue { faults, .. } => faults.len(),
            _ => 0,
        }
    }

    /// How many commits to `table` the catalog has made.
    pub fn made(&self, table: &str) -> usize {
        self.state()
            .made
            .iter()
            .filter(|made| *made == table)
            .count()
    }

    /// How many commits wait to be released.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Sends what is held to the catalog, closes the connections to the clients, and returns what the
    /// catalog said to each.
    pub fn release(&self) -> Vec<u16> {
        let held = std::mem::take(&mut self.state().held);
        held.into_iter()
            .map(|held| self.shared.apply(held))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for CatalogProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    let address = listener.local_addr().expect("the proxy's address");
    let mut listener = Some(listener);
    while !shared.ended.load(Ordering::SeqCst) {
        let refuses = shared
            .state()
            .refusing_until
            .is_some_and(|until| Instant::now() < until);
        if refuses {
            listener = None;
            thread::sleep(ACCEPT_POLL);
            continue;
        }
        let listening = listener.get_or_insert_with(|| {
            wait_until("the proxy's own port", Duration::from_secs(60), || {
                TcpListener::bind(address).ok()
            })
        });
        listening
            .set_nonblocking(true)
            .expect("a listener that does not wait");
        match listening.accept() {
            Ok((client, _)) => {
                let shared = Arc::clone(shared);
                thread::spawn(move || {
                    client
                        .set_nonblocking(false)
                        .expect("a connection that waits");
                    // A client that went away has nothing to be told.
                    let _ = shared.serve(&client);
                });
            }
            Err(_) => thread::sleep(ACCEPT_POLL),
        }
    }
}

/// What a request is, as far as faults are concerned.
enum Kind {
    Commit(String),
    Reading(String),
    Other,
}

fn kind_of(request: &Request) -> Kind {
    let path = request.path.split('?').next().unwrap_or_default();
    if request.method == "POST" && path.ends_with("/transactions/commit") {
        return Kind::Commit("transaction".to_owned());
    }
    match (path.rsplit_once("/tables/"), request.method.as_str()) {
        (Some((_, table)), "POST") => Kind::Commit(table.to_owned()),
        (Some((_, table)), "GET") => Kind::Reading(table.to_owned()),
        _ => Kind::Other,
    }
}

/// The snapshot that a commit adds.
fn snapshot_of(commit: &Request) -> Option<Value> {
    let commit: Value = serde_json::from_slice(&commit.body).ok()?;
    let mut updates = commit["updates"].as_array()?.iter();
    let snapshot = updates.find_map(|update| update.get("snapshot"))?;
    Some(snapshot.clone())
}

/// Whether a merged manifest is in the list of the snapshot that a commit adds. Lists are not compressed.
fn brings_merged_manifest(commit: &Request) -> bool {
    const NAME: &[u8] = b"-merged.avro";
    let list = snapshot_of(commit).and_then(|snapshot| {
        let list = snapshot["manifest-list"].as_str()?.to_owned();
        std::fs::read(
            list.trim_start_matches("file://")
                .trim_start_matches("file:"),
        )
        .ok()
    });
    list.is_some_and(|list| list.windows(NAME.len()).any(|bytes| bytes == NAME))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn serve(&self, client: &TcpStream) -> std::io::Result<()> {
        let Some(request) = Request::read(client)? else {
            return Ok(());
        };
        match kind_of(&request) {
            Kind::Other => request.forward(&self.upstream)?.send(client),
            Kind::Reading(table) => {
                let fault = self.state().fault_of_reading();
                let answer = request.forward(&self.upstream)?;
                self.apply_after_look_up(&table);
                match fault {
                    None => answer.send(client),
                    Some(answered) => self.answer(client, answered, Some(&answer)),
                }
            }
            Kind::Commit(table) => {
                let hit = self.state().fault_of_commit(&table, &request);
                let Some((index, fault)) = hit else {
                    let answer = request.forward(&self.upstream)?;
                    self.note(None, &table, answer.status);
                    return answer.send(client);
                };
                let held = Held {
                    request,
                    table,
                    index,
                    client: client.try_clone()?,
                };
                let mut real = None;
                match fault.applied {
                    Applied::Never => {}
                    Applied::Now => {
                        let answer = held.request.forward(&self.upstream)?;
                        self.note(Some(index), &held.table, answer.status);
                        real = Some(answer);
                    }
                    Applied::AfterLookUp => self.state().after_look_up.push(held),
                    Applied::WhenReleased => self.state().held.push(held),
                }
                self.answer(client, fault.answered, real.as_ref())
            }
        }
    }

    fn apply_after_look_up(&self, table: &str) {
        let mut state = self.state();
        let all = std::mem::take(&mut state.after_look_up);
        let (due, rest) = all.into_iter().partition(|held| held.table == table);
        state.after_look_up = rest;
        drop(state);
        let due: Vec<Held> = due;
        for held in due {
            self.apply(held);
        }
    }

    fn apply(&self, held: Held) -> u16 {
        let status = held
            .request
            .forward(&self.upstream)
            .expect("the catalog answers")
            .status;
        self.note(Some(held.index), &held.table, status);
        // It may be long gone.
        let _ = held.client.shutdown(Shutdown::Both);
        status
    }

    fn note(&self, index: Option<usize>, table: &str, status: u16) {
        let mut state = self.state();
        if let Some(index) = index {
            state.injected[index].upstream = Some(status);
        }
        if status == 200 {
            state.made.push(table.to_owned());
        }
    }

    fn answer(
        &self,
        client: &TcpStream,
        answered: Answered,
        real: Option<&Answer>,
    ) -> std::io::Result<()> {
        let forged = Answer::json(
            200,
            r#"{"metadata-location": "file:///nowhere", "metadata": {}}"#,
        );
        let real = real.unwrap_or(&forged);
        let half = Answer::json(200, &real.body[..real.body.len() / 2]);
        match answered {
            // Said aloud: a commit that is held has a handle on the connection too.
            Answered::Dropped => client.shutdown(Shutdown::Both),
            Answered::Status(status) => Answer::json(
                status,
                format!(
                    r#"{{"error": {{"message": "injected", "type": "InjectedException", "code": {status}}}}}"#
                ),
            )
            .send(client),
            Answered::Html => Answer::json(200, "<html><body>welcome</body></html>").send(client),
            Answered::OtherJson => Answer::json(200, "{}").send(client),
            Answered::HalfADocument => half.send(client),
            Answered::DroppedMidBody => half.send_with_length(client, real.body.len()),
            Answered::WrongLength => real.send_with_length(client, real.body.len() / 2),
            Answered::Stalled => {
                // Until the client gives up: then there is nothing more to read.
                let _ = Request::read(client)?;
                Ok(())
            }
            Answered::Refused => {
                self.state().refusing_until = Some(Instant::now() + REFUSED_FOR);
                client.shutdown(Shutdown::Both)
            }
        }
    }
}

impl State {
    fn fault_of_commit(&mut self, table: &str, request: &Request) -> Option<(usize, Fault)> {
        let seen = self.seen.entry(table.to_owned()).or_default();
        *seen += 1;
        let fault = match &mut self.schedule {
            Schedule::Off => None,
            Schedule::Queue {
                faults,
                every,
                table: only,
            } => {
                let is_meant = only.as_ref().is_none_or(|only| only == table);
                (is_meant && seen.is_multiple_of(*every))
                    .then(|| faults.pop_front())
                    .flatten()
            }
            Schedule::Merge { fault, table: only } => {
                let fault = *fault;
                let is_meant = *only == table && brings_merged_manifest(request);
                is_meant.then(|| {
                    self.schedule = Schedule::Off;
                    fault
                })
            }
            Schedule::Seeded { rng, percent } => {
                (rng.random_range(0..100) < *percent).then(|| random_fault(rng))
            }
        }?;
        self.injected.push(Injected {
            fault,
            table: table.to_owned(),
            snapshot_id: snapshot_of(request).and_then(|snapshot| snapshot["snapshot-id"].as_i64()),
            upstream: None,
        });
        Some((self.injected.len() - 1, fault))
    }

    fn fault_of_reading(&mut self) -> Option<Answered> {
        match &mut self.schedule {
            Schedule::Seeded { rng, percent } => {
                (rng.random_range(0..100) < *percent).then(|| random_answer(rng))
            }
            _ => None,
        }
    }
}

fn random_fault(rng: &mut StdRng) -> Fault {
    let applied = match rng.random_range(0..10) {
        0..=3 => Applied::Never,
        4..=7 => Applied::Now,
        _ => Applied::AfterLookUp,
    };
    Fault {
        applied,
        answered: random_answer(rng),
    }
}

fn random_answer(rng: &mut StdRng) -> Answered {
    const STATUSES: [u16; 6] = [409, 429, 500, 502, 503, 504];
    match rng.random_range(0..14) {
        0 => Answered::Html,
        1 => Answered::OtherJson,
        2 => Answered::HalfADocument,
        3 => Answered::DroppedMidBody,
        4 => Answered::WrongLength,
        5 => Answered::Stalled,
        6 => Answered::Refused,
        7 | 8 => Answered::Dropped,
        _ => Answered::Status(STATUSES[rng.random_range(0..STATUSES.len())]),
    }
}
