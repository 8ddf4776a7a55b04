//! Evidence as files: `FOLDER/REQUEST/PATH`, and beside them a `manifest.json` that lists each with its hash, and a `custody.json` that tells
//! who had what kept, when and why. Copies of them may go to a bucket.

mod bucket;
mod examine;
mod gcs;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stanch_commands::target::RequestId;

use crate::core::step::Artefact;
use crate::ports::{Custody, EvidenceLost, EvidenceStore, Exhibit, Kept};

pub use bucket::{BucketError, EvidenceBucket};
pub use examine::BucketExamination;

/// Longest path of an artefact: namespace, pod and container names are 253, 253 and 63 characters, and file systems take 255 per segment.
const PATH_LIMIT: usize = 1_024;
/// Different contents under one path. A step is tried a handful of times; more is a loop that would fill the disk.
const VERSIONS_LIMIT: u32 = 100;

const MANIFEST: &str = "manifest.json";
const CUSTODY: &str = "custody.json";

/// One line of the chain of custody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodyRecord {
    /// Who, when and why.
    #[serde(flatten)]
    pub custody: Custody,
    /// What was kept.
    pub exhibits: Vec<Exhibit>,
    /// SHA-256 of the manifest after that.
    pub manifest_sha256: String,
}

/// A folder that keeps evidence. One process writes it.
///
/// # Guarantees
/// What [`EvidenceStore::keep`] returns is durable: file, folder entry and manifest. Nothing kept is ever overwritten: other content under the
/// same path gets the path with a number behind it. Files are 0600 in folders that are 0700.
#[derive(Clone, Debug)]
pub struct EvidenceFolder {
    folder: PathBuf,
    /// Held while a manifest is read, extended and written.
    writing: Arc<Mutex<()>>,
}

/// The lists of a request: their bytes and what they say.
struct Lists {
    manifest: (Vec<u8>, Vec<Exhibit>),
    custody: (Vec<u8>, Vec<CustodyRecord>),
}

/// Why evidence cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The path leaves the request's folder or has unusual characters.
    #[error("`{}` is no path of evidence: segments of letters, digits, `.`, `_` and `-`, none with a leading dot", .0.escape_default())]
    Path(String),
    /// Too many contents under one path.
    #[error("there are {VERSIONS_LIMIT} different contents of `{0}` already")]
    Versions(String),
    /// The manifest or the chain of custody is damaged. It is not written anew, because it may be what tells that a file was changed.
    #[error("the list `{}` is damaged: {why}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} `{}`: {why}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl EvidenceFolder {
    /// Opens the folder, or creates it.
    ///
    /// # Errors
    /// [`EvidenceError::Io`].
    pub fn open(folder: &Path) -> Result<Self, EvidenceError> {
        create_folders(folder)?;
        Ok(Self { folder: folder.to_owned(), writing: Arc::default() })
    }

    /// The manifest of a request: every kept file, sorted by path; empty if there is none.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn manifest(&self, request: &RequestId) -> Result<Vec<Exhibit>, EvidenceError> {
        list(&self.folder.join(request.as_str()).join(MANIFEST))
    }

    /// The chain of custody of a request, oldest first; empty if there is none.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn custody(&self, request: &RequestId) -> Result<Vec<CustodyRecord>, EvidenceError> {
        list(&self.folder.join(request.as_str()).join(CUSTODY))
    }

    /// Requests that evidence is kept of.
    fn requests(&self) -> Result<Vec<RequestId>, EvidenceError> {
        let entries = fs::read_dir(&self.folder).map_err(failed("read", &self.folder))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let requests = names.filter_map(|name| name.parse::<RequestId>().ok());
        Ok(requests.filter(|request| self.folder.join(request.as_str()).join(CUSTODY).is_file()).collect())
    }

    /// A kept file.
    fn read(&self, request: &RequestId, path: &str) -> Result<Vec<u8>, EvidenceError> {
        check_path(path)?;
        let path = self.folder.join(request.as_str()).join(path);
        fs::read(&path).map_err(failed("read", &path))
    }

    /// Manifest and chain of custody, as they are stored and what they say, both of one moment.
    fn lists(&self, request: &RequestId) -> Result<Lists, EvidenceError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.folder.join(request.as_str());
        let read = |path: PathBuf| fs::read(&path).map_err(failed("read", &path));
        let (manifest, custody) = (read(folder.join(MANIFEST))?, read(folder.join(CUSTODY))?);
        let of = (parsed(&folder.join(MANIFEST), &manifest)?, parsed(&folder.join(CUSTODY), &custody)?);
        Ok(Lists { manifest: (manifest, of.0), custody: (custody, of.1) })
    }

    fn keep_all(&self, custody: &Custody, artefacts: &[Artefact]) -> Result<Kept, EvidenceError> {
        artefacts.iter().try_for_each(|artefact| check_path(&artefact.path))?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.folder.join(custody.request.as_str());
        create_folders(&folder)?;
        let (mut manifest, mut chain) = (self.manifest(&custody.request)?, self.custody(&custody.request)?);
        let exhibits = artefacts.iter().map(|artefact| keep_one(&folder, artefact)).collect::<Result<Vec<_>, _>>()?;
        for exhibit in &exhibits {
            // The file of a listed exhibit that has another hash was changed from outside: the list keeps both lines.
            if !manifest.contains(exhibit) {
                manifest.push(exhibit.clone());
            }
        }
        manifest.sort_by(|a, b| (&a.path, &a.sha256).cmp(&(&b.path, &b.sha256)));
        let manifest_sha256 = write_list(&folder.join(MANIFEST), &manifest)?;
        let kept = Kept { exhibits, manifest_sha256 };
        let (exhibits, manifest_sha256) = (kept.exhibits.clone(), kept.manifest_sha256.clone());
        chain.push(CustodyRecord { custody: custody.clone(), exhibits, manifest_sha256 });
        write_list(&folder.join(CUSTODY), &chain)?;
        Ok(kept)
    }
}

#[async_trait]
impl EvidenceStore for EvidenceFolder {
    async fn keep(&self, custody: &Custody, artefacts: Vec<Artefact>) -> Result<Kept, EvidenceLost> {
        let (store, custody) = (self.clone(), custody.clone());
        match tokio::task::spawn_blocking(move || store.keep_all(&custody, &artefacts)).await {
            Ok(kept) => kept.map_err(|error| EvidenceLost(error.to_string())),
            Err(error) => Err(EvidenceLost(format!("keeping evidence was cut short: {error}"))),
        }
    }
}

fn list<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, EvidenceError> {
    match fs::read(path) {
        Ok(bytes) => parsed(path, &bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("read", path)(error)),
    }
}

fn parsed<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<Vec<T>, EvidenceError> {
    serde_json::from_slice(bytes).map_err(|error| EvidenceError::Manifest { path: path.to_owned(), why: error.to_string() })
}

/// Writes a list and returns the hash of what it wrote.
fn write_list<T: Serialize>(path: &Path, list: &[T]) -> Result<String, EvidenceError> {
    let wrong = |error: serde_json::Error| EvidenceError::Manifest { path: path.to_owned(), why: error.to_string() };
    let bytes = serde_json::to_vec_pretty(list).map_err(wrong)?;
    replace(path, &bytes)?;
    Ok(hex(&bytes))
}

/// Refuses whatever could leave the request's folder, hide in it, or take the place of one of its lists.
fn check_path(path: &str) -> Result<(), EvidenceError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let segment = |segment: &str| !segment.is_empty() && segment.len() <= 240 && !segment.starts_with('.') && segment.chars().all(plain);
    let list = path == MANIFEST || path == CUSTODY || path.starts_with("manifest-") || path.starts_with("custody-");
    match path.len() <= PATH_LIMIT && !list && path.split('/').all(segment) {
        true => Ok(()),
        false => Err(EvidenceError::Path(path.chars().take(80).collect())),
    }
}

fn keep_one(folder: &Path, artefact: &Artefact) -> Result<Exhibit, EvidenceError> {
    let sha256 = hex(&artefact.content);
    for version in 1..=VERSIONS_LIMIT {
        let name = match version {
            1 => artefact.path.clone(),
            _ => format!("{}.{version}", artefact.path),
        };
        let path = folder.join(&name);
        match fs::read(&path) {
            Ok(found) if hex(&found) != sha256 => continue,
            // A crash may have come between the file's name and its folder.
            Ok(_) => sync_parent(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => replace(&path, &artefact.content)?,
            Err(error) => return Err(failed("read", &path)(error)),
        }
        return Ok(Exhibit { path: name, sha256, bytes: artefact.content.len() as u64 });
    }
    Err(EvidenceError::Versions(artefact.path.clone()))
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EvidenceError {
    let path = path.to_owned();
    move |why| EvidenceError::Io { what, path, why }
}

/// Writes a file so that it is there whole, or not at all. The temporary name starts with a dot, as no artefact's does.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), EvidenceError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    create_folders(parent)?;
    let temporary = parent.join(".new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("write", path))?;
    sync_parent(path)
}

/// Creates missing folders from the top, each durable in its parent.
fn create_folders(folder: &Path) -> Result<(), EvidenceError> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folders(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("create", folder)(error)),
        Ok(()) | Err(_) => sync_parent(folder),
    }
}

fn sync_parent(path: &Path) -> Result<(), EvidenceError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed("sync", parent))
}
