//! A file being read here and there, as Parquet's reader does.

use std::fs::File;
use std::io::{BufReader, Read, Result as IoResult};
use std::ops::Range;
use std::sync::Arc;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use object_store::path::Path;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use super::fault::Fault;
use super::objects::{Bucket, wait};

/// Bytes at the end of a file that are read in one request: the footer of nearly every file fits.
const TAIL_BYTES: u64 = 64 * 1024;

/// A file that is open for reading.
#[derive(Debug)]
pub(in super::super) enum Input {
    /// On this machine.
    Disk(File),
    /// In an object store.
    Object(Object),
}

/// An object, of which some ranges are here already.
#[derive(Clone, Debug)]
pub(in super::super) struct Object {
    bucket: Arc<Bucket>,
    key: Path,
    bytes: u64,
    here: Vec<(u64, Bytes)>,
}

impl Input {
    pub(super) fn of_object(bucket: Arc<Bucket>, key: Path, bytes: u64) -> Input {
        Input::Object(Object {
            bucket,
            key,
            bytes,
            here: Vec::new(),
        })
    }

    /// The same file, with these ranges of it in memory: Parquet's reader asks for pages one after the other, and
    /// each would be a request. A file on a disk is read as it is asked for.
    ///
    /// # Errors
    /// They cannot be read.
    pub(in super::super) fn with(&self, ranges: &[Range<u64>]) -> Result<Input, Fault> {
        match self {
            Input::Disk(file) => Ok(Input::Disk(file.try_clone()?)),
            Input::Object(object) => object.with(ranges).map(Input::Object),
        }
    }

    /// The same file with its end in memory.
    ///
    /// # Errors
    /// It cannot be read.
    pub(in super::super) fn with_tail(&self) -> Result<Input, Fault> {
        let bytes = self.len();
        self.with(std::slice::from_ref(
            &(bytes.saturating_sub(TAIL_BYTES)..bytes),
        ))
    }
}

impl Object {
    fn with(&self, ranges: &[Range<u64>]) -> Result<Object, Fault> {
        let read = self.bucket.read_ranges(&self.key, ranges);
        let read = wait(read)?;
        Ok(Object {
            here: ranges.iter().map(|range| range.start).zip(read).collect(),
            ..self.clone()
        })
    }

    /// What is here from a place on, at least `length` bytes of it.
    fn from(&self, start: u64, length: usize) -> Option<Bytes> {
        self.here.iter().find_map(|(first, bytes)| {
            let skipped = usize::try_from(start.checked_sub(*first)?).ok()?;
            let is_enough = skipped < bytes.len() && length <= bytes.len() - skipped;
            is_enough.then(|| bytes.slice(skipped..))
        })
    }

    /// What is here from a place on, else the next piece of the object.
    fn some_from(&self, start: u64) -> ParquetResult<Bytes> {
        match self.from(start, 1) {
            Some(bytes) => Ok(bytes),
            None => self.read(start, TAIL_BYTES as usize),
        }
    }

    fn read(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.saturating_add(length as u64).min(self.bytes);
        let read = self.bucket.read_range(&self.key, start..end);
        wait(read).map_err(|fault| ParquetError::External(Box::new(fault)))
    }
}

/// What is read from a place on.
pub(in super::super) enum Source {
    /// A file on this machine.
    Disk(BufReader<File>),
    /// An object: bytes of it that are here, and the place behind them.
    Object {
        here: Reader<Bytes>,
        object: Object,
        next: u64,
    },
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> IoResult<usize> {
        match self {
            Source::Disk(file) => file.read(into),
            Source::Object { here, object, next } => {
                if here.get_ref().is_empty() && *next < object.bytes && !into.is_empty() {
                    let bytes = object.some_from(*next).map_err(std::io::Error::other)?;
                    *next += bytes.len() as u64;
                    *here = bytes.reader();
                }
                here.read(into)
            }
        }
    }
}

impl Length for Input {
    fn len(&self) -> u64 {
        match self {
            Input::Disk(file) => file.len(),
            Input::Object(object) => object.bytes,
        }
    }
}

impl ChunkReader for Input {
    type T = Source;

    fn get_read(&self, start: u64) -> ParquetResult<Source> {
        match self {
            Input::Disk(file) => file.get_read(start).map(Source::Disk),
            Input::Object(object) => Ok(Source::Object {
                here: Bytes::new().reader(),
                object: object.clone(),
                next: start,
            }),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            Input::Disk(file) => file.get_bytes(start, length),
            // There is no request for nothing.
            Input::Object(_) if length == 0 => Ok(Bytes::new()),
            Input::Object(object) => {
                let bytes = match object.from(start, length) {
                    Some(bytes) => bytes.slice(..length),
                    None => object.read(start, length)?,
                };
                if bytes.len() < length {
                    return Err(ParquetError::EOF(format!(
                        "{} bytes at {start}, {length} were expected",
                        bytes.len()
                    )));
                }
                Ok(bytes)
            }
        }
    }
}
