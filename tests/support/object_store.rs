//! The object store of a test's own stack.

use std::fs;
use std::path::{Path, PathBuf};

use super::OwnStack;

/// Where an object store is, and how to get in.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    /// Its address.
    pub endpoint: String,
    /// A bucket that is there.
    pub bucket: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
    /// The folder of its buckets: objects are plain files.
    buckets: PathBuf,
}

impl ObjectStore {
    /// The service `s3` of a stack.
    #[track_caller]
    pub fn of(stack: &OwnStack) -> ObjectStore {
        let fact = |key| stack.fact("s3", key);
        ObjectStore {
            endpoint: fact("endpoint"),
            bucket: fact("bucket"),
            region: fact("region"),
            access_key_id: fact("access_key_id"),
            secret_access_key: fact("secret_access_key"),
            buckets: PathBuf::from(fact("buckets")),
        }
    }

    /// As `catalog.properties`.
    pub fn properties(&self) -> String {
        format!(
            "{{ s3.endpoint: '{}', s3.region: '{}', s3.access-key-id: '{}', s3.secret-access-key: '{}', \
             s3.path-style-access: 'true' }}",
            self.endpoint, self.region, self.access_key_id, self.secret_access_key
        )
    }

    /// As variables of the environment, which the judge's readers read too.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_REGION", &self.region),
            ("AWS_ACCESS_KEY_ID", &self.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_access_key),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }

    /// The files of the bucket below a folder whose names end so, with their sizes.
    pub fn objects(&self, folder: &str, ending: &str) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        walk(&self.buckets.join(&self.bucket).join(folder), &mut found);
        found.retain(|(path, _)| path.to_string_lossy().ends_with(ending));
        found
    }
}

fn walk(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let metadata = entry.metadata().expect("a file's metadata");
        match metadata.is_dir() {
            true => walk(&entry.path(), found),
            false => found.push((entry.path(), metadata.len())),
        }
    }
}
