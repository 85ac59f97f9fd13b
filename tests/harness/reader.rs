//! A reader that looks at the catalog all the time: when did which commit become visible?

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// How often the table's folder is looked at; as exact as the times are.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How often the catalog is asked whatever the folder says. Each answer costs the catalog and this reader CPU time that a
/// recovery would have to do without; no snapshot is expired so soon.
const REST_INTERVAL: Duration = Duration::from_millis(500);
/// The catalog points to a metadata file only after it was written: for so long after a new one it is asked again, until
/// it shows a new snapshot.
const SETTLING: Duration = Duration::from_millis(200);
/// Between those questions.
const SETTLING_INTERVAL: Duration = Duration::from_millis(20);
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the summary of a snapshot says.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// The generation that made it; of Flink, the checkpoint.
    pub generation: u64,
    /// Whether it holds records.
    pub has_records: bool,
}

/// How an engine's summaries are read.
pub type ReadSummary = fn(&Value) -> Said;

/// Those of Strandline.
pub fn by_strandline(summary: &Value) -> Said {
    Said {
        generation: number(summary, "strandline.generation"),
        has_records: number(summary, "strandline.consumed") > 0,
    }
}

/// A number of a summary; 0 without one.
pub fn number(summary: &Value, key: &str) -> u64 {
    let text = summary[key].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A commit that holds records.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// When the reader first saw it.
    pub seen: Instant,
    /// The same on the wall clock, for logs.
    pub seen_at: SystemTime,
    /// The generation that made it.
    pub generation: u64,
}

/// What the reader has seen.
#[derive(Default)]
pub struct Seen {
    /// Commits that hold records, in the order in which they were seen.
    pub commits: Vec<Commit>,
    /// The newest generation, committed or only claimed.
    pub generation: u64,
    /// When the newest answer was asked for.
    asked: Option<Instant>,
    snapshots: HashSet<i64>,
}

/// A thread that reads until the value is dropped.
pub struct Reader {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    hurry: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads `namespace.table` from a REST catalog.
    pub fn start(uri: &str, table: &str, read_summary: ReadSummary) -> Reader {
        let (uri, table) = (uri.to_owned(), table.to_owned());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let hurry = Arc::new(AtomicBool::new(false));
        let (shared, flag, hurried) = (Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&hurry));
        let thread = std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || {
                let mut folder = Folder::default();
                while !flag.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    // Errors are expected: the catalog is killed, the table not there yet.
                    if let Some(answer) = ask(&uri, &table, None) {
                        folder.follow(&answer);
                        let mut seen = lock(&shared);
                        seen.asked = Some(asked);
                        if seen.take_in(&answer, read_summary) {
                            folder.settled();
                        }
                    }
                    let asked = Instant::now();
                    // Looked at always, so that nothing old is new when a recovery begins.
                    let mut interval = || match (folder.interval(), hurried.load(Ordering::Relaxed))
                    {
                        (interval, true) => interval,
                        (_, false) => REST_INTERVAL,
                    };
                    while asked.elapsed() < interval() && !flag.load(Ordering::Relaxed) {
                        std::thread::sleep(LOOK_INTERVAL);
                    }
                }
            })
            .expect("a thread");
        Reader {
            seen,
            stop,
            hurry,
            thread: Some(thread),
        }
    }

    /// What it has seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Whether a recovery is being timed.
    pub fn hurry(&self, on: bool) {
        self.hurry.store(on, Ordering::Relaxed);
    }

    /// Whether it knows what there was at a moment.
    pub fn knows_of(&self, at: Instant) -> bool {
        self.seen().asked.is_some_and(|asked| asked >= at)
    }

    /// The newest generation seen.
    pub fn generation(&self) -> u64 {
        self.seen().generation
    }

    /// The first commit seen after `since` of a generation above `generation`.
    pub fn commit_after(&self, since: Instant, generation: u64) -> Option<Commit> {
        let seen = self.seen();
        let later = seen.commits.partition_point(|commit| commit.seen <= since);
        let mut later = seen.commits[later..].iter();
        later.find(|commit| commit.generation > generation).copied()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The folder of the table's metadata, on this machine: a file that appears there says when to ask, at no cost to anyone.
#[derive(Default)]
struct Folder {
    path: Option<PathBuf>,
    modified: Option<SystemTime>,
    /// Metadata files that were there.
    files: HashSet<OsString>,
    /// When there last was a new one.
    new_at: Option<Instant>,
}

impl Folder {
    /// Looks where the table is.
    fn follow(&mut self, answer: &Value) {
        let location = answer["metadata"]["location"].as_str();
        let folder = location.and_then(|location| location.strip_prefix("file:"));
        self.path = folder.map(|folder| {
            let root = folder.trim_start_matches('/');
            Path::new("/").join(root).join("metadata")
        });
    }

    /// How long to wait between two questions, as things are now.
    fn interval(&mut self) -> Duration {
        if self.has_new_file() {
            self.new_at = Some(Instant::now());
        }
        match self.new_at {
            Some(at) if at.elapsed() < SETTLING => SETTLING_INTERVAL,
            _ => REST_INTERVAL,
        }
    }

    /// What was new is seen.
    fn settled(&mut self) {
        self.new_at = None;
    }

    fn has_new_file(&mut self) -> bool {
        let Some(path) = &self.path else {
            return false;
        };
        let modified = path.metadata().and_then(|folder| folder.modified()).ok();
        if modified == self.modified {
            return false;
        }
        self.modified = modified;
        let mut is_new = false;
        for entry in path.read_dir().into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().ends_with(".metadata.json") {
                is_new |= self.files.insert(name);
            }
        }
        is_new
    }
}

impl Seen {
    /// Takes in the catalog's answer; says whether it has a new snapshot.
    fn take_in(&mut self, answer: &Value, read_summary: ReadSummary) -> bool {
        let mut is_new = false;
        let (seen, seen_at) = (Instant::now(), SystemTime::now());
        let snapshots = answer["metadata"]["snapshots"].as_array();
        for snapshot in snapshots.into_iter().flatten() {
            let id = snapshot["snapshot-id"].as_i64().unwrap_or_default();
            if !self.snapshots.insert(id) {
                continue;
            }
            is_new = true;
            let said = read_summary(&snapshot["summary"]);
            self.generation = self.generation.max(said.generation);
            if said.has_records {
                self.commits.push(Commit {
                    seen,
                    seen_at,
                    generation: said.generation,
                });
            }
        }
        is_new
    }
}

/// What a REST catalog answers about `namespace.table`, or to an update of it; `None` for everything that is no JSON.
pub fn ask(uri: &str, table: &str, update: Option<&Value>) -> Option<Value> {
    let (namespace, name) = table.split_once('.').expect("namespace.table");
    let host = uri.trim_start_matches("http://");
    let path = format!("/v1/namespaces/{namespace}/tables/{name}");
    // HTTP/1.0, so that the answer is one piece.
    let request = match update {
        None => format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n"),
        Some(update) => {
            let body = update.to_string();
            let length = body.len();
            format!(
                "POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            )
        }
    };
    let address = host.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    serde_json::from_slice(&answer[body..]).ok()
}
