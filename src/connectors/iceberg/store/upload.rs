//! An object being written: in one request when it is small, else in parts while it is being made.
//!
//! Nobody sees anything of it before [`Upload::finish`], and all of it from then on. An upload whose process was
//! killed leaves parts behind that only the store sees; a lifecycle rule of the bucket removes them.

use std::io::{Result as IoResult, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::task::JoinSet;

use super::fault::Fault;
use super::objects::{Bucket, wait};

/// Bytes of a part. S3 takes parts from 5 MiB, and 10,000 of them (multipart upload limits): 80 GB.
const PART_BYTES: usize = 8 << 20;

/// Parts of an object on their way, at most: an open file holds three parts' memory, one of them being filled.
const PARTS_ON_THEIR_WAY: usize = 2;

/// How long it may take to have the store throw the parts of a file away that nobody wants any more.
const ABORT_TIMEOUT: Duration = Duration::from_secs(3);

/// A new object.
#[derive(Debug)]
pub(in super::super) struct Upload {
    bucket: Arc<Bucket>,
    key: Path,
    /// What is not on its way yet.
    filling: Vec<u8>,
    parts: Option<Parts>,
    bytes: u64,
    /// Why it will never be whole.
    failed: Option<Fault>,
}

/// The parts of an object that is too large for one request.
#[derive(Debug)]
struct Parts {
    upload: Box<dyn MultipartUpload>,
    on_their_way: JoinSet<object_store::Result<()>>,
}

impl Upload {
    pub(super) fn new(bucket: Arc<Bucket>, key: Path) -> Upload {
        Upload {
            bucket,
            key,
            filling: Vec::new(),
            parts: None,
            bytes: 0,
            failed: None,
        }
    }

    /// Makes it durable and seen; returns its size.
    pub(super) fn finish(&mut self) -> Result<u64, Fault> {
        if let Some(fault) = &self.failed {
            return Err(fault.clone());
        }
        if self.parts.is_none() {
            let bytes = Bytes::from(std::mem::take(&mut self.filling));
            wait(self.bucket.write(&self.key, bytes))?;
            return Ok(self.bytes);
        }
        if !self.filling.is_empty() {
            self.send_part()?;
        }
        let Some(mut parts) = self.parts.take() else {
            return Ok(self.bytes);
        };
        let (bucket, key, bytes) = (&self.bucket, &self.key, self.bytes);
        let completed = wait(async {
            parts.wait_for_all_but(0, bucket).await?;
            let Err(error) = bucket.ask(0, parts.upload.complete()).await else {
                return Ok(());
            };
            // An answer that was lost: asked again, the store knows of no such upload. Nobody else writes this key, and nothing
            // is seen of it before it is whole.
            match bucket.size(key).await {
                Ok(Some(found)) if found == bytes => Ok(()),
                _ => Err(bucket.fault(error)),
            }
        });
        if completed.is_err() {
            abort(bucket, parts);
        }
        completed.map(|()| self.bytes)
    }

    /// Sends what was filled, once there is room for one more part on its way.
    fn send_part(&mut self) -> Result<(), Fault> {
        let bytes = Bytes::from(std::mem::take(&mut self.filling));
        let (bucket, key, parts) = (&self.bucket, &self.key, &mut self.parts);
        wait(async {
            let parts = match parts {
                Some(parts) => parts,
                None => {
                    let upload = bucket.ask(0, bucket.client.put_multipart(key)).await;
                    parts.insert(Parts {
                        upload: upload.map_err(|e| bucket.fault(e))?,
                        on_their_way: JoinSet::new(),
                    })
                }
            };
            parts
                .wait_for_all_but(PARTS_ON_THEIR_WAY - 1, bucket)
                .await?;
            let length = bytes.len() as u64;
            let part = parts.upload.put_part(PutPayload::from_bytes(bytes));
            let asking = Arc::clone(bucket);
            let part = async move { asking.ask(length, part).await };
            parts.on_their_way.spawn_on(part, &bucket.runtime);
            Ok(())
        })
    }
}

impl Parts {
    /// Waits until at most so many are on their way.
    async fn wait_for_all_but(&mut self, most: usize, bucket: &Bucket) -> Result<(), Fault> {
        while self.on_their_way.len() > most {
            match self.on_their_way.join_next().await {
                Some(Ok(sent)) => sent.map_err(|e| bucket.fault(e))?,
                Some(Err(e)) => return Err(bucket.fault(e.into())),
                None => break,
            }
        }
        Ok(())
    }
}

/// Has the store throw the parts away, without waiting for it. A failure leaves them for the bucket's lifecycle rule.
fn abort(bucket: &Bucket, mut parts: Parts) {
    let named = bucket.named.clone();
    bucket.runtime.spawn(async move {
        parts.on_their_way.shutdown().await;
        let aborted = tokio::time::timeout(ABORT_TIMEOUT, parts.upload.abort()).await;
        if !matches!(aborted, Ok(Ok(()))) {
            tracing::debug!(
                bucket = named.bucket,
                "parts of an upload that was given up stay behind"
            );
        }
    });
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        let room = PART_BYTES - self.filling.len();
        let taken = bytes.len().min(room);
        self.filling.extend_from_slice(&bytes[..taken]);
        self.bytes += taken as u64;
        if self.filling.len() == PART_BYTES
            && let Err(fault) = self.send_part()
        {
            self.failed = Some(fault.clone());
            return Err(std::io::Error::other(fault));
        }
        Ok(taken)
    }

    /// Nothing is seen of an object before its end.
    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            abort(&self.bucket, parts);
        }
    }
}
