//! Evidence in a local folder: one folder a request, files that are never overwritten, and a manifest with their hashes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use stanch_commands::target::RequestId;

use crate::core::step::Artefact;
use crate::ports::{EvidenceLost, EvidenceStore, Exhibit};

/// Longest path of an artefact: namespace, pod and container names are at most 253 each.
const PATH_LIMIT: usize = 1_000;
/// Versions of one path before something is wrong: a collection is repeated once or twice after restarts.
const MAX_VERSIONS: u32 = 100;
const MANIFEST: &str = "manifest.json";

/// Evidence below one folder. Files are readable by their owner alone: logs leak secrets.
#[derive(Clone, Debug)]
pub struct EvidenceFolder {
    folder: PathBuf,
}

impl EvidenceFolder {
    /// Uses or creates `folder`.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn open(folder: &Path) -> io::Result<Self> {
        private_folder(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn keep_now(&self, request: &RequestId, artefacts: Vec<Artefact>) -> io::Result<Vec<Exhibit>> {
        let folder = self.folder.join(request.as_str());
        private_folder(&folder)?;
        let mut manifest = read_manifest(&folder)?;
        let mut kept = Vec::new();
        for artefact in artefacts {
            let exhibit = keep_one(&folder, artefact, &manifest)?;
            if !manifest.contains(&exhibit) {
                manifest.push(exhibit.clone());
            }
            kept.push(exhibit);
        }
        manifest.sort_by(|a, b| a.path.cmp(&b.path));
        write_durably(&folder.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
        Ok(kept)
    }
}

#[async_trait]
impl EvidenceStore for EvidenceFolder {
    async fn keep(&self, request: &RequestId, artefacts: Vec<Artefact>) -> Result<Vec<Exhibit>, EvidenceLost> {
        let (store, request) = (self.clone(), request.clone());
        let kept = tokio::task::spawn_blocking(move || store.keep_now(&request, artefacts)).await;
        kept.map_err(|error| EvidenceLost(error.to_string()))?.map_err(|error| EvidenceLost(error.to_string()))
    }
}

/// Under its own path if that is free or holds the same; under a numbered one otherwise.
fn keep_one(folder: &Path, artefact: Artefact, manifest: &[Exhibit]) -> io::Result<Exhibit> {
    if !admitted(&artefact.path) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no path for evidence", artefact.path)));
    }
    let sha256: String = Sha256::digest(&artefact.content).iter().map(|byte| format!("{byte:02x}")).collect();
    let bytes = u64::try_from(artefact.content.len()).unwrap_or(u64::MAX);
    for version in 1..=MAX_VERSIONS {
        let path = if version == 1 { artefact.path.clone() } else { format!("{}.{version}", artefact.path) };
        let exhibit = Exhibit { path, sha256: sha256.clone(), bytes };
        match manifest.iter().find(|kept| kept.path == exhibit.path) {
            Some(kept) if *kept == exhibit => return Ok(exhibit),
            Some(_) => {}
            None => {
                let file = folder.join(&exhibit.path);
                file.parent().map_or(Ok(()), private_folder)?;
                write_durably(&file, &artefact.content)?;
                return Ok(exhibit);
            }
        }
    }
    Err(io::Error::other(format!("`{}` was kept {MAX_VERSIONS} times with different content", artefact.path)))
}

fn admitted(path: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    path.len() <= PATH_LIMIT && path != MANIFEST && path.split('/').all(part)
}

fn read_manifest(folder: &Path) -> io::Result<Vec<Exhibit>> {
    match fs::read(folder.join(MANIFEST)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(error),
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Complete or not there: a temporary file, synced, renamed, and the folder synced.
fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push("~");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
