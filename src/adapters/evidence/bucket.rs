//! Copies of evidence in a bucket, out of reach of whoever takes the machine of the first copy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use stanch_commands::target::RequestId;

use super::{EvidenceError, EvidenceFolder, hex};
use crate::ports::{Copied, CopyFailed, EvidenceCopies, Exhibit};

/// How long one call may take: 4 MiB of logs over a slow link.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// How long the listing of everything may take.
const LIST_LIMIT: Duration = Duration::from_secs(300);

/// Why a bucket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The store refuses its settings.
    #[error("the bucket cannot be set up: {0}")]
    Store(#[source] object_store::Error),
    /// No credentials.
    #[error("there are no application default credentials: {0}")]
    Credentials(#[source] google_cloud_auth::build_errors::Error),
    /// No TLS.
    #[error("there is no way to the bucket: {0}")]
    Client(String),
}

/// A bucket that holds what a folder keeps, as `PREFIX/REQUEST/PATH`.
///
/// # Guarantees
/// Every object is created, never overwritten: the same content under the same name is fine, another content is a conflict. What was put is
/// read back and its hash compared. The lists come last, and have a name for each of their states: `manifest-SHA256.json` and
/// `custody-RECORDS.json`. So a chain of custody in the bucket says that everything it names was read back before.
pub struct EvidenceBucket {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    place: String,
    folder: EvidenceFolder,
    /// What this process read back, by request.
    seen: Mutex<BTreeMap<RequestId, BTreeSet<String>>>,
}

impl fmt::Debug for EvidenceBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvidenceBucket").field("place", &self.place).finish_non_exhaustive()
    }
}

impl EvidenceBucket {
    /// Copies of what `folder` keeps, into `store`, under `prefix`. `place` is what people read.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, place: String, folder: EvidenceFolder) -> Self {
        Self { store, prefix: Key::from(prefix), place, folder, seen: Mutex::default() }
    }

    /// Copies into another folder, such as a mounted disk.
    ///
    /// # Errors
    /// [`BucketError::Store`] if it does not exist.
    pub fn in_folder(path: &Path, folder: EvidenceFolder) -> Result<Self, BucketError> {
        let store = LocalFileSystem::new_with_prefix(path).map_err(BucketError::Store)?.with_fsync(true);
        Ok(Self::new(Arc::new(store), "", format!("file://{}", path.display()), folder))
    }

    fn key(&self, request: &RequestId, name: &str) -> Key {
        let parts = self.prefix.parts().map(|part| part.as_ref().to_owned());
        Key::from_iter(parts.chain([request.as_str().to_owned()]).chain(name.split('/').map(str::to_owned)))
    }

    async fn kept(&self, request: &RequestId) -> Result<Kept, CopyFailed> {
        let (folder, request) = (self.folder.clone(), request.clone());
        blocking(move || Kept::read(&folder, &request)).await
    }

    /// Brings one object there and reads it back.
    async fn ensure(&self, request: &RequestId, name: &str, content: Vec<u8>) -> Result<(), CopyFailed> {
        let key = self.key(request, name);
        let (sha256, length) = (hex(&content), content.len() as u64);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match limited(CALL_LIMIT, self.store.put_opts(&key, content.into(), options)).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(unavailable(&error)),
        }
        let there = limited(CALL_LIMIT, self.store.get(&key)).await.map_err(|error| unavailable(&error))?;
        let found = match there.meta.size == length {
            true => Some(hex(&limited(CALL_LIMIT, there.bytes()).await.map_err(|error| unavailable(&error))?)),
            false => None,
        };
        match found.as_ref() == Some(&sha256) {
            true => Ok(()),
            false => Err(CopyFailed::Conflict(format!(
                "`{}/{}/{name}` holds something else there: somebody wrote it, and it is not overwritten",
                self.place,
                request.as_str()
            ))),
        }
    }

    fn is_seen(&self, request: &RequestId, name: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(request).is_some_and(|names| names.contains(name))
    }

    fn see(&self, request: &RequestId, name: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(request.clone()).or_default().insert(name.to_owned());
    }
}

#[async_trait]
impl EvidenceCopies for EvidenceBucket {
    fn place(&self) -> &str {
        &self.place
    }

    async fn copy(&self, request: &RequestId) -> Result<Copied, CopyFailed> {
        let kept = self.kept(request).await?;
        for (name, exhibits) in &kept.files {
            if self.is_seen(request, name) {
                continue;
            }
            let (folder, of, path) = (self.folder.clone(), request.clone(), name.clone());
            let content = blocking(move || folder.read(&of, &path)).await?;
            let sha256 = hex(&content);
            if !exhibits.iter().any(|exhibit| exhibit.sha256 == sha256) {
                return Err(CopyFailed::Conflict(format!("`{name}` is not what was kept: the file on this machine was changed")));
            }
            self.ensure(request, name, content).await?;
            self.see(request, name);
        }
        for (name, content) in kept.lists() {
            self.ensure(request, &name, content).await?;
        }
        Ok(Copied { files: kept.files.len(), manifest_sha256: hex(&kept.manifest) })
    }

    async fn pending(&self) -> Result<BTreeSet<RequestId>, CopyFailed> {
        let listing = self.store.list(Some(&self.prefix)).map_ok(|object| (object.location, object.size)).try_collect();
        let there: BTreeMap<Key, u64> = limited(LIST_LIMIT, listing).await.map_err(|error| unavailable(&error))?;
        let folder = self.folder.clone();
        let mut pending = BTreeSet::new();
        for request in blocking(move || folder.requests()).await? {
            let kept = self.kept(&request).await?;
            let lists = kept.lists().into_iter().map(|(name, content)| (name, vec![content.len() as u64]));
            let files = kept.files.iter().map(|(name, exhibits)| (name.clone(), exhibits.iter().map(|exhibit| exhibit.bytes).collect()));
            let is_there = |name: &str, lengths: &[u64]| there.get(&self.key(&request, name)).is_some_and(|size| lengths.contains(size));
            let missing = files.chain(lists).any(|(name, lengths): (String, Vec<u64>)| !is_there(&name, &lengths));
            if missing {
                pending.insert(request);
            }
        }
        Ok(pending)
    }
}

/// What a folder keeps of a request.
struct Kept {
    /// Files, each as it was kept: more than once if it was changed from outside.
    files: BTreeMap<String, Vec<Exhibit>>,
    manifest: Vec<u8>,
    custody: Vec<u8>,
    records: usize,
}

impl Kept {
    fn read(folder: &EvidenceFolder, request: &RequestId) -> Result<Self, EvidenceError> {
        let lists = folder.lists(request)?;
        let mut files: BTreeMap<String, Vec<Exhibit>> = BTreeMap::new();
        for exhibit in lists.manifest.1 {
            files.entry(exhibit.path.clone()).or_default().push(exhibit);
        }
        Ok(Self { files, manifest: lists.manifest.0, custody: lists.custody.0, records: lists.custody.1.len() })
    }

    fn lists(&self) -> [(String, Vec<u8>); 2] {
        let manifest = (format!("manifest-{}.json", hex(&self.manifest)), self.manifest.clone());
        [manifest, (format!("custody-{:04}.json", self.records), self.custody.clone())]
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, EvidenceError> + Send + 'static) -> Result<T, CopyFailed> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| CopyFailed::Unavailable(error.to_string())),
        Err(error) => Err(CopyFailed::Unavailable(format!("reading evidence was cut short: {error}"))),
    }
}

async fn limited<T>(limit: Duration, call: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => {
            let source = format!("no answer within {} s", limit.as_secs()).into();
            Err(object_store::Error::Generic { store: "bucket", source })
        }
    }
}

/// Longest words of a store's error, in characters: some quote a whole page of HTML.
const WORDS_LENGTH: usize = 300;

fn unavailable(error: &object_store::Error) -> CopyFailed {
    let words = error.to_string();
    // Cloud Storage answers with XML, and its message is the part for people.
    let said = words.split_once("<Message>").and_then(|(_, rest)| Some(rest.split_once("</Message>")?.0));
    let words = said.map_or_else(|| words.clone(), |said| format!("the bucket answers: {said}"));
    CopyFailed::Unavailable(words.chars().take(WORDS_LENGTH).collect())
}
