//! The store of a table's files: this machine's disk, or an object store. What the connector writes, reads, lists
//! and deletes beside the library goes through here, and so does the library ([`StoreFactory`]), so that both use
//! the same credentials and connections.
//!
//! What is written is durable when the call returns: on a disk the file and its name are synced, an object store
//! has answered. Nothing here is needed to be deleted for correctness.

mod fault;
mod file_io;
mod input;
mod local;
mod objects;
mod overdue;
mod properties;
mod s3;
#[cfg(test)]
mod tests;
mod upload;

use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt;
use iceberg::io::FileIO;
use object_store::path::Path as ObjectPath;
use parquet::file::reader::ChunkReader;
use strandline_operators::ErrorKind;

use super::location::{self, Place};
use objects::{Bucket, Objects, wait};

pub(super) use fault::Fault;
pub(super) use file_io::StoreFactory;
pub(super) use input::Input;
pub(super) use local::create_folder;
pub use overdue::store_trouble;
pub(super) use properties::Properties;
pub(super) use s3::{Patience, validate};

/// Sets of properties whose connections are kept. A catalog may hand out others with every answer.
const STORES_KEPT: usize = 8;

/// Names that are looked at in one folder of an object store, at most: 20 requests, a few seconds.
const OBJECTS_LISTED_MAX: usize = 20_000;

/// How long the folders of a folder are gone through in an object store, where each is a request: a start waits for it.
const LISTING_MAX: Duration = Duration::from_secs(5);

/// Bytes read at a time while a file is copied through this machine.
const COPY_BYTES: usize = 8 << 20;

/// The stores of this process, the one used last first.
static STORES: Mutex<Vec<Arc<Objects>>> = Mutex::new(Vec::new());

/// A store of files, by their locations.
#[derive(Clone, Debug)]
pub(super) struct Store {
    objects: Arc<Objects>,
}

/// A file in a folder.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Its location.
    pub location: String,
    /// When it was written, if that is known.
    pub written: Option<SystemTime>,
}

impl Listed {
    /// The last part of its location.
    pub(super) fn name(&self) -> &str {
        self.location.rsplit('/').next().unwrap_or_default()
    }
}

/// A place, with what it takes to get there.
enum At {
    Disk(PathBuf),
    Bucket(Arc<Bucket>, ObjectPath),
}

impl Store {
    /// The store that a table's files are in.
    pub(super) fn of(file_io: &FileIO) -> Store {
        Store::with(Properties::of(file_io.config().props()))
    }

    /// The store that these properties describe.
    pub(super) fn with(properties: Properties) -> Store {
        let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
        let known = stores.iter().position(|s| *s.properties() == properties);
        let objects = match known {
            Some(place) => stores.remove(place),
            None => Arc::new(Objects::new(properties)),
        };
        stores.insert(0, Arc::clone(&objects));
        stores.truncate(STORES_KEPT);
        Store { objects }
    }

    fn at(&self, location: &str, patience: Patience) -> Result<At, Fault> {
        match Place::of(location) {
            Some(Place::Local(path)) => Ok(At::Disk(path)),
            Some(Place::Object { bucket, key }) => Ok(At::Bucket(
                self.objects.bucket(&bucket, patience)?,
                objects::path(&key)?,
            )),
            None => {
                let (why, hint) = location::unknown_scheme(location);
                Err(Fault::new(ErrorKind::Configuration, why).hint(hint))
            }
        }
    }

    /// Checks that a location can be written to, without asking anybody.
    pub(super) fn require(&self, location: &str) -> Result<(), Fault> {
        self.at(location, Patience::Brief).map(drop)
    }

    /// Writes a whole small file, durably.
    pub(super) fn write(
        &self,
        location: &str,
        bytes: Vec<u8>,
        patience: Patience,
    ) -> Result<(), Fault> {
        match self.at(location, patience)? {
            At::Disk(path) => Ok(local::write(&path, &bytes)?),
            At::Bucket(bucket, key) => wait(bucket.write(&key, bytes.into())),
        }
    }

    /// Reads a whole small file; `None` when there is none.
    pub(super) fn read(&self, location: &str, patience: Patience) -> Result<Option<Bytes>, Fault> {
        match self.at(location, patience)? {
            At::Disk(path) => Ok(local::read(&path)?.map(Bytes::from)),
            At::Bucket(bucket, key) => wait(bucket.read(&key)),
        }
    }

    /// Reads whole small files, many at a time where each is a request; `None` for one that is not there.
    pub(super) fn read_all(&self, locations: &[&str]) -> Result<Vec<Option<Bytes>>, Fault> {
        let mut asked = Vec::new();
        for location in locations {
            match self.at(location, Patience::Brief)? {
                At::Bucket(bucket, key) => asked.push((bucket, key)),
                At::Disk(_) => {
                    let read = locations.iter();
                    return read.map(|l| self.read(l, Patience::Brief)).collect();
                }
            }
        }
        wait(objects::read_all(asked))
    }

    /// Deletes a file; one that is not there is as good.
    pub(super) fn delete(&self, location: &str) -> Result<(), Fault> {
        match self.at(location, Patience::Brief)? {
            At::Disk(path) => Ok(local::delete(&path)?),
            At::Bucket(bucket, key) => wait(bucket.delete(&key)),
        }
    }

    /// Deletes files, many at a time where each is a request; returns those that cannot be deleted, with why.
    pub(super) fn delete_all(&self, locations: Vec<String>) -> Vec<(String, Fault)> {
        let mut failed = Vec::new();
        let mut asked = Vec::new();
        for location in locations {
            let deleted = match self.at(&location, Patience::Brief) {
                Ok(At::Disk(path)) => local::delete(&path).map_err(Fault::from),
                Ok(At::Bucket(bucket, key)) => {
                    asked.push((location, bucket, key));
                    continue;
                }
                Err(fault) => Err(fault),
            };
            failed.extend(deleted.err().map(|fault| (location, fault)));
        }
        if !asked.is_empty() {
            let deleted = wait(async { Ok(objects::delete_all(asked).await) });
            failed.extend(deleted.unwrap_or_default());
        }
        failed
    }

    /// The first of these files that is certainly not there.
    pub(super) fn first_missing<'a>(
        &self,
        locations: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let mut asked = Vec::new();
        for location in locations {
            match self.at(location, Patience::Brief) {
                Ok(At::Disk(path)) if matches!(path.try_exists(), Ok(false)) => {
                    return Some(location);
                }
                Ok(At::Bucket(bucket, key)) => asked.push((location, (bucket, key))),
                _ => {}
            }
        }
        let (locations, objects): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        if objects.is_empty() {
            return None;
        }
        let missing = wait(async { Ok(objects::first_missing(objects).await) });
        missing
            .ok()?
            .and_then(|place| locations.get(place).copied())
    }

    /// The files in a folder; none when it is not there. Of an object store the first [`OBJECTS_LISTED_MAX`].
    pub(super) fn list(&self, folder: &str) -> Result<Vec<Listed>, Fault> {
        match self.at(folder, Patience::Brief)? {
            At::Disk(path) => Ok(on_disk(folder, &path).collect()),
            At::Bucket(bucket, key) => wait(in_bucket(&bucket, folder, &key, OBJECTS_LISTED_MAX)),
        }
    }

    /// The files in the folders of a folder, at most `most`, newest folder first: the one that changed last, in an
    /// object store, where folders are no more than names, the one with the greatest name, at most
    /// [`OBJECTS_LISTED_MAX`] of them, and what was found within [`LISTING_MAX`].
    pub(super) fn list_folders(&self, folder: &str, most: usize) -> Result<Vec<Listed>, Fault> {
        let (bucket, key) = match self.at(folder, Patience::Brief)? {
            At::Disk(path) => {
                let folders = local::folders(&path).into_iter();
                let files = folders.flat_map(|path| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    on_disk(&format!("{folder}/{name}"), &path).collect::<Vec<_>>()
                });
                return Ok(files.take(most).collect());
            }
            At::Bucket(bucket, key) => (bucket, key),
        };
        let most = most.min(OBJECTS_LISTED_MAX);
        let until = Instant::now() + LISTING_MAX;
        wait(async {
            let folders = bucket.folders(&key).await?;
            let requests: Vec<_> = folders
                .into_iter()
                .rev()
                .map(|inner| {
                    let folder = format!("{folder}/{}", inner.filename().unwrap_or_default());
                    let bucket = Arc::clone(&bucket);
                    async move { in_bucket(&bucket, &folder, &inner, most).await }
                })
                .collect();
            let mut listed = pin!(objects::each(requests.into_iter()));
            let mut found = Vec::new();
            while let Some(files) = listed.try_next().await? {
                found.extend(files);
                if found.len() >= most || Instant::now() >= until {
                    break;
                }
            }
            found.truncate(most);
            Ok(found)
        })
    }

    /// Makes durable what the library wrote. An object is so from the start.
    pub(super) fn sync(&self, location: &str) -> Result<(), Fault> {
        match Place::of(location) {
            Some(Place::Local(path)) => Ok(local::sync(&path)?),
            _ => Ok(()),
        }
    }

    /// Makes the names in a folder durable, when there is such a folder.
    pub(super) fn sync_folder(&self, location: &str) -> Result<(), Fault> {
        match Place::of(location) {
            Some(Place::Local(path)) if path.is_dir() => Ok(local::sync_folder(&path)?),
            _ => Ok(()),
        }
    }

    /// A new file, to be written through to its end.
    pub(super) fn create(&self, location: &str) -> Result<Output, Fault> {
        Ok(match self.at(location, Patience::Full)? {
            At::Disk(path) => Output::Disk(local::Output::create(path)?),
            At::Bucket(bucket, key) => Output::Bucket(bucket.create(key)),
        })
    }

    /// A file of `bytes`, to be read here and there.
    pub(super) fn open(&self, location: &str, bytes: u64) -> Result<Input, Fault> {
        match self.at(location, Patience::Full)? {
            At::Disk(path) => Ok(Input::Disk(std::fs::File::open(path)?)),
            At::Bucket(bucket, key) => Ok(Input::of_object(bucket, key, bytes)),
        }
    }

    /// Copies a file that should have `bytes` into a store, durably; returns the size that it has. Nothing is copied when that
    /// is another one.
    pub(super) fn copy(
        &self,
        from: &str,
        target: &Store,
        to: &str,
        bytes: u64,
    ) -> Result<u64, Fault> {
        match (
            self.at(from, Patience::Full)?,
            target.at(to, Patience::Full)?,
        ) {
            (At::Disk(from), At::Disk(to)) => Ok(local::copy(&from, &to)?),
            (At::Bucket(one, from), At::Bucket(other, to)) if Arc::ptr_eq(&one, &other) => {
                wait(one.copy(&from, &to))
            }
            (source, place) => {
                let found = size(&source)?;
                if found == bytes {
                    // An attempt before this one may have begun it.
                    if let At::Disk(path) = &place {
                        local::delete(path)?;
                    }
                    self.copy_through(from, target, to, bytes)?;
                }
                Ok(found)
            }
        }
    }

    fn copy_through(&self, from: &str, target: &Store, to: &str, bytes: u64) -> Result<u64, Fault> {
        let input = self.open(from, bytes)?;
        let mut output = target.create(to)?;
        let mut copied = 0;
        while copied < bytes {
            let length =
                usize::try_from(bytes - copied).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
            let read = input.get_bytes(copied, length).map_err(|e| {
                let fault = Fault::within(&e).cloned();
                fault.unwrap_or_else(|| Fault::new(ErrorKind::Unreachable, e.to_string()))
            })?;
            output.write_all(&read)?;
            copied += length as u64;
        }
        output.finish()
    }
}

/// The size of a file that must be there.
fn size(place: &At) -> Result<u64, Fault> {
    match place {
        At::Disk(path) => Ok(std::fs::metadata(path)?.len()),
        At::Bucket(bucket, key) => {
            let absent = || Fault::new(ErrorKind::Unreachable, "there is no such object");
            wait(bucket.size(key))?.ok_or_else(absent)
        }
    }
}

fn on_disk(folder: &str, path: &std::path::Path) -> impl Iterator<Item = Listed> {
    let folder = folder.trim_end_matches('/').to_owned();
    local::list(path).filter_map(move |(path, written)| {
        let name = path.file_name()?.to_str()?;
        Some(Listed {
            location: format!("{folder}/{name}"),
            written,
        })
    })
}

async fn in_bucket(
    bucket: &Bucket,
    folder: &str,
    key: &ObjectPath,
    most: usize,
) -> Result<Vec<Listed>, Fault> {
    let listed = bucket.list(key, most).await?;
    let folder = folder.trim_end_matches('/');
    let in_folder = listed.into_iter().filter_map(|(found, written)| {
        // Under the location as the table spells it, and not those in folders of the folder.
        let name = found.strip_prefix(key.as_ref())?.trim_start_matches('/');
        let location = format!("{folder}/{name}");
        (!name.contains('/')).then_some(Listed { location, written })
    });
    Ok(in_folder.collect())
}

/// A new file being written. What is dropped before [`Output::finish`] may stay behind on a disk; an object store
/// sees nothing of it.
#[derive(Debug)]
pub(super) enum Output {
    /// On this machine.
    Disk(local::Output),
    /// In an object store.
    Bucket(upload::Upload),
}

impl Output {
    /// Makes it durable; returns its size. To be called once, when all is written.
    pub(super) fn finish(&mut self) -> Result<u64, Fault> {
        match self {
            Output::Disk(file) => Ok(file.finish()?),
            Output::Bucket(upload) => upload.finish(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Output::Disk(file) => file.write(bytes),
            Output::Bucket(upload) => upload.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Output::Disk(file) => file.flush(),
            Output::Bucket(upload) => upload.flush(),
        }
    }
}
