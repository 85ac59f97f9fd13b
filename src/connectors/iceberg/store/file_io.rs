//! The store as the Iceberg library sees it: its manifests and metadata go the way that our files go.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, LocalFsStorage,
    OutputFile, Storage, StorageConfig, StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::super::location::{self, Place};
use super::fault::Fault;
use super::objects::{self, Bucket};
use super::{Patience, Properties, Store};

/// Makes the library's storage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct StoreFactory {
    patience: Patience,
}

impl StoreFactory {
    /// With this patience for every request.
    pub(in super::super) fn with(patience: Patience) -> Arc<StoreFactory> {
        Arc::new(StoreFactory { patience })
    }

    /// The library's access to the files that these properties lead to.
    pub(in super::super) fn file_io(self: Arc<Self>, properties: &Properties) -> FileIO {
        FileIOBuilder::new(self)
            .with_props(properties.as_map())
            .build()
    }
}

#[typetag::serde(name = "StrandlineStoreFactory")]
impl StorageFactory for StoreFactory {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(LibraryStore {
            patience: self.patience,
            properties: Properties::of(config.props()),
        }))
    }
}

/// The store behind the library's interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LibraryStore {
    patience: Patience,
    properties: Properties,
}

/// The library reads files on this machine by itself.
const DISK: LocalFsStorage = LocalFsStorage;

fn failed(what: &str, location: &str, fault: Fault) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {what} `{location}`")).with_source(fault)
}

impl LibraryStore {
    /// The object of a location; `None` on this machine.
    fn object(&self, what: &str, location: &str) -> Result<Option<(Arc<Bucket>, Path)>> {
        let failed = |fault| failed(what, location, fault);
        match Place::of(location) {
            Some(Place::Local(_)) => Ok(None),
            Some(Place::Object { bucket, key }) => {
                let store = Store::with(self.properties.clone());
                let bucket = store
                    .objects
                    .bucket(&bucket, self.patience)
                    .map_err(failed)?;
                Ok(Some((bucket, objects::path(&key).map_err(failed)?)))
            }
            None => {
                let (why, hint) = location::unknown_scheme(location);
                let kind = strandline_operators::ErrorKind::Configuration;
                Err(failed(Fault::new(kind, why).hint(hint)))
            }
        }
    }
}

fn missing() -> Fault {
    Fault::new(
        strandline_operators::ErrorKind::Unreachable,
        "there is no such object",
    )
}

#[async_trait]
#[typetag::serde(name = "StrandlineStore")]
impl Storage for LibraryStore {
    async fn exists(&self, path: &str) -> Result<bool> {
        let Some((bucket, key)) = self.object("look for", path)? else {
            return DISK.exists(path).await;
        };
        let size = bucket.size(&key).await;
        Ok(size
            .map_err(|fault| failed("look for", path, fault))?
            .is_some())
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let Some((bucket, key)) = self.object("look at", path)? else {
            return DISK.metadata(path).await;
        };
        let size = bucket
            .size(&key)
            .await
            .and_then(|size| size.ok_or_else(missing));
        let size = size.map_err(|fault| failed("look at", path, fault))?;
        Ok(FileMetadata { size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        let Some((bucket, key)) = self.object("read", path)? else {
            return DISK.read(path).await;
        };
        let read = bucket
            .read(&key)
            .await
            .and_then(|read| read.ok_or_else(missing));
        read.map_err(|fault| failed("read", path, fault))
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        match self.object("read", path)? {
            None => DISK.reader(path).await,
            Some((bucket, key)) => Ok(Box::new(Reading { bucket, key })),
        }
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let Some((bucket, key)) = self.object("write", path)? else {
            return DISK.write(path, bytes).await;
        };
        let written = bucket.write(&key, bytes).await;
        written.map_err(|fault| failed("write", path, fault))
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        match self.object("write", path)? {
            None => DISK.writer(path).await,
            Some((bucket, key)) => Ok(Box::new(Writing {
                bucket,
                key,
                bytes: Some(Vec::new()),
            })),
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let Some((bucket, key)) = self.object("delete", path)? else {
            return DISK.delete(path).await;
        };
        let deleted = bucket.delete(&key).await;
        deleted.map_err(|fault| failed("delete", path, fault))
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        if self.object("delete", path)?.is_none() {
            return DISK.delete_prefix(path).await;
        }
        // The library asks for it only to purge a table, which nothing of ours does.
        Err(Error::new(
            ErrorKind::FeatureUnsupported,
            format!("`{path}` is not deleted with all that is below it"),
        ))
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// An object that the library reads.
struct Reading {
    bucket: Arc<Bucket>,
    key: Path,
}

#[async_trait]
impl FileRead for Reading {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let read = self.bucket.read_range(&self.key, range).await;
        read.map_err(|fault| failed("read", self.key.as_ref(), fault))
    }
}

/// An object that the library writes: a manifest or a list of them, a few megabytes at most.
struct Writing {
    bucket: Arc<Bucket>,
    key: Path,
    /// `None` once it is closed.
    bytes: Option<Vec<u8>>,
}

impl Writing {
    fn closed(&self) -> Error {
        Error::new(ErrorKind::DataInvalid, format!("`{}` is closed", self.key))
    }
}

#[async_trait]
impl FileWrite for Writing {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.bytes {
            Some(written) => written.extend_from_slice(&bytes),
            None => return Err(self.closed()),
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let bytes = self.bytes.take().ok_or_else(|| self.closed())?;
        let written = self.bucket.write(&self.key, bytes.into()).await;
        written.map_err(|fault| failed("write", self.key.as_ref(), fault))
    }
}
