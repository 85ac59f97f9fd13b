//! Objects in the buckets of a store: each request bounded, and tried again within its patience.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{CopyOptions, ObjectStore, ObjectStoreExt, PutPayload};
use strandline_operators::ErrorKind;
use tokio::runtime::Handle;

use super::super::blocking::Blocking;
use super::fault::{Fault, Named};
use super::overdue::{OVERDUE_AFTER, Overdue};
use super::properties::Properties;
use super::s3::{self, Patience};
use super::upload::Upload;

/// Bytes of an object that is read or copied whole, for what is overdue: manifests and metadata have a few megabytes.
const WHOLE_BYTES: u64 = 8 << 20;

/// What a slow line carries.
const SLOW_BYTES_PER_SECOND: u64 = 1 << 20;

/// Objects that are asked for at a time.
const ASKED_AT_A_TIME: usize = 16;

/// The threads that all requests of the process run on. They wait for sockets.
fn runtime() -> Result<&'static Blocking, Fault> {
    static RUNTIME: OnceLock<Option<Blocking>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Blocking::new().ok());
    runtime.as_ref().ok_or_else(|| {
        Fault::new(
            ErrorKind::Internal,
            "cannot start the threads of the object store's client",
        )
    })
}

/// Waits for requests on a thread that may block.
pub(super) fn wait<T: Send>(
    request: impl Future<Output = Result<T, Fault>> + Send,
) -> Result<T, Fault> {
    runtime()?
        .wait(request)
        .map_err(|e| Fault::new(ErrorKind::Internal, e.message()))?
}

/// How long a request with so many bytes in it or in its answer takes that is not overdue yet.
fn due_after(bytes: u64) -> Duration {
    OVERDUE_AFTER + Duration::from_secs(bytes / SLOW_BYTES_PER_SECOND)
}

/// The buckets that one set of properties leads to.
#[derive(Debug)]
pub(super) struct Objects {
    properties: Properties,
    buckets: Mutex<HashMap<(String, Patience), Arc<Bucket>>>,
}

/// One bucket.
pub(super) struct Bucket {
    pub(super) client: Arc<dyn ObjectStore>,
    pub(super) named: Named,
    pub(super) runtime: Handle,
}

/// Without its client, which may have keys to show.
impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.named.fmt(f)
    }
}

impl Objects {
    pub(super) fn new(properties: Properties) -> Objects {
        Objects {
            properties,
            buckets: Mutex::default(),
        }
    }

    /// A bucket in memory.
    #[cfg(test)]
    pub(super) fn in_memory(name: &str) -> Objects {
        let client: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let buckets = Patience::ALL.map(|patience| {
            let bucket = Bucket {
                client: Arc::clone(&client),
                named: Named {
                    bucket: name.to_owned(),
                    at: "memory".to_owned(),
                    asks_machine: false,
                    is_temporary: false,
                    has_answered: Arc::default(),
                },
                runtime: runtime()
                    .and_then(|r| {
                        r.tokio()
                            .map_err(|e| Fault::new(ErrorKind::Internal, e.message()))
                    })
                    .expect("a runtime"),
            };
            ((name.to_owned(), patience), Arc::new(bucket))
        });
        Objects {
            properties: Properties::default(),
            buckets: Mutex::new(buckets.into()),
        }
    }

    pub(super) fn properties(&self) -> &Properties {
        &self.properties
    }

    /// A bucket, opened once. Nothing is asked yet.
    pub(super) fn bucket(&self, name: &str, patience: Patience) -> Result<Arc<Bucket>, Fault> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), patience);
        if let Some(bucket) = buckets.get(&key) {
            return Ok(Arc::clone(bucket));
        }
        let runtime = runtime()?
            .tokio()
            .map_err(|e| Fault::new(ErrorKind::Internal, e.message()))?;
        let (client, named) = s3::connect(&self.properties, name, patience, &runtime)?;
        let bucket = Arc::new(Bucket {
            client: Arc::new(client),
            named,
            runtime,
        });
        buckets.insert(key, Arc::clone(&bucket));
        Ok(bucket)
    }
}

/// The path of a key, letter by letter.
pub(super) fn path(key: &str) -> Result<Path, Fault> {
    Path::parse(key).map_err(|e| {
        Fault::new(ErrorKind::Configuration, format!("`{key}` is no key that can be used: {e}"))
            .hint("let the warehouse, and `write.data.path` of the table, have no empty parts, and no `.` or `..`")
    })
}

impl Bucket {
    pub(super) fn fault(&self, error: object_store::Error) -> Fault {
        self.named.fault(&error)
    }

    /// Makes one request, with `bytes` in it or in its answer, and says so while it is overdue.
    pub(super) async fn ask<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let mut request = std::pin::pin!(request);
        let due = due_after(bytes);
        let answer = match tokio::time::timeout(due, &mut request).await {
            Ok(answer) => answer,
            Err(_) => {
                let _overdue = Overdue::new(&self.named, due);
                request.await
            }
        };
        if answer.is_ok() {
            self.named.has_answered.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Writes a whole object; it is durable when this returns.
    pub(super) async fn write(&self, key: &Path, bytes: Bytes) -> Result<(), Fault> {
        // Overwrites: keys are never used twice, and an answer that was lost is then no trouble.
        let (length, payload) = (bytes.len() as u64, PutPayload::from_bytes(bytes));
        let put = self.ask(length, self.client.put(key, payload)).await;
        put.map(drop).map_err(|e| self.fault(e))
    }

    /// Reads a whole object, `None` when there is none.
    pub(super) async fn read(&self, key: &Path) -> Result<Option<Bytes>, Fault> {
        let read = async { self.client.get(key).await?.bytes().await };
        match self.ask(WHOLE_BYTES, read).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) => self.unless_absent(e).map(|()| None),
        }
    }

    pub(super) async fn read_range(&self, key: &Path, range: Range<u64>) -> Result<Bytes, Fault> {
        let bytes = range.end - range.start;
        let read = self.ask(bytes, self.client.get_range(key, range)).await;
        read.map_err(|e| self.fault(e))
    }

    pub(super) async fn read_ranges(
        &self,
        key: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, Fault> {
        let bytes = ranges.iter().map(|range| range.end - range.start).sum();
        let read = self.ask(bytes, self.client.get_ranges(key, ranges)).await;
        read.map_err(|e| self.fault(e))
    }

    /// The size of an object, `None` when there is none.
    pub(super) async fn size(&self, key: &Path) -> Result<Option<u64>, Fault> {
        match self.ask(0, self.client.head(key)).await {
            Ok(object) => Ok(Some(object.size)),
            Err(e) => self.unless_absent(e).map(|()| None),
        }
    }

    /// Deletes an object; one that is not there is as good.
    pub(super) async fn delete(&self, key: &Path) -> Result<(), Fault> {
        match self.ask(0, self.client.delete(key)).await {
            Ok(()) => Ok(()),
            Err(e) => self.unless_absent(e),
        }
    }

    /// Copies an object within the bucket, without its bytes passing through here; returns its size.
    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Result<u64, Fault> {
        let copied = self.client.copy_opts(from, to, CopyOptions::default());
        let copied = self.ask(WHOLE_BYTES, copied).await;
        copied.map_err(|e| self.fault(e))?;
        let copy = self.ask(0, self.client.head(to)).await;
        let copy = copy.map_err(|e| self.fault(e))?;
        Ok(copy.size)
    }

    /// The keys below a folder and when they were last written, at most `most`.
    pub(super) async fn list(
        &self,
        folder: &Path,
        most: usize,
    ) -> Result<Vec<(String, Option<SystemTime>)>, Fault> {
        let mut listed = self.client.list(Some(folder)).take(most);
        let mut found = Vec::new();
        // Each page is a request of its own.
        while let Some(object) = self
            .ask(0, listed.try_next())
            .await
            .map_err(|e| self.fault(e))?
        {
            let written = Some(object.last_modified.into());
            found.push((object.location.to_string(), written));
        }
        Ok(found)
    }

    /// The folders in a folder, in the order of their names.
    pub(super) async fn folders(&self, folder: &Path) -> Result<Vec<Path>, Fault> {
        let listed = self.client.list_with_delimiter(Some(folder));
        let listed = self.ask(0, listed).await;
        Ok(listed.map_err(|e| self.fault(e))?.common_prefixes)
    }

    /// A new object being written.
    pub(super) fn create(self: &Arc<Self>, key: Path) -> Upload {
        Upload::new(Arc::clone(self), key)
    }

    fn unless_absent(&self, error: object_store::Error) -> Result<(), Fault> {
        // A bucket that is not there is no absent object.
        let text = error.to_string();
        match error {
            object_store::Error::NotFound { .. } if !text.contains("NoSuchBucket") => Ok(()),
            error => Err(self.fault(error)),
        }
    }
}

/// The answers to requests, in their order, some made at a time.
pub(super) fn each<T, R>(requests: impl Iterator<Item = R>) -> impl Stream<Item = T>
where
    R: Future<Output = T>,
{
    stream::iter(requests).buffered(ASKED_AT_A_TIME)
}

/// The place of the first of the objects that is not there. One that nobody can tell of counts as there.
pub(super) async fn first_missing(objects: Vec<(Arc<Bucket>, Path)>) -> Option<usize> {
    let asked = objects
        .into_iter()
        .map(|(bucket, key)| async move { matches!(bucket.size(&key).await, Ok(None)) });
    let answers: Vec<bool> = each(asked).collect().await;
    answers.into_iter().position(|is_missing| is_missing)
}

/// Deletes objects; returns those that cannot be deleted, with why.
pub(super) async fn delete_all(objects: Vec<(String, Arc<Bucket>, Path)>) -> Vec<(String, Fault)> {
    let asked = objects
        .into_iter()
        .map(|(location, bucket, key)| async move {
            let fault = bucket.delete(&key).await.err()?;
            Some((location, fault))
        });
    each(asked)
        .filter_map(|failed| async move { failed })
        .collect()
        .await
}

/// Reads objects whole; `None` for one that is not there.
pub(super) async fn read_all(
    objects: Vec<(Arc<Bucket>, Path)>,
) -> Result<Vec<Option<Bytes>>, Fault> {
    let asked = objects
        .into_iter()
        .map(|(bucket, key)| async move { bucket.read(&key).await });
    each(asked).try_collect().await
}
