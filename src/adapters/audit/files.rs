//! The files of the log: how each is named, read, and written so that it is whole or absent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{SigningKey, VerifyingKey};
use rustix::fs::{FlockOperation, flock};

use super::checkpoint::{Checkpoint, verifier_key};
use super::error::AuditError;
use super::merkle::{Hash, TILE_WIDTH};

/// How often the lock is asked for. A program that another thread is just starting has this process's files, locked ones too, until it takes
/// its own shape: that takes milliseconds.
const LOCK_TRIES: u32 = 10;
/// Time between two of these.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Makes an error of an I/O error.
pub fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io { what, path, source }
}

/// Creates the log's folder, readable by its owner alone. The one for hand-overs is always there, so that a backup can name it.
pub fn create_folder(folder: &Path) -> Result<(), AuditError> {
    fs::create_dir_all(folder.join("rotations")).map_err(failed("create", folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed("protect", folder))
}

/// Takes the writer's lock; it lasts as long as the file is open.
pub fn lock(folder: &Path) -> Result<File, AuditError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed("open", &path))?;
    for _ in 0..LOCK_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(BETWEEN_TRIES),
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
    }
    Err(AuditError::InUse { folder: folder.to_owned() })
}

/// Reads the signing key, or makes one on first start, together with the public verifier key.
pub fn signing_key(folder: &Path, origin: &str) -> Result<SigningKey, AuditError> {
    let path = folder.join("signing-key");
    let key = read_key(&path)?.map_or_else(|| new_key(&path), Ok)?;
    replace(&folder.join("verifier-key"), format!("{}\n", verifier_key(origin, &key.verifying_key())).as_bytes())?;
    Ok(key)
}

/// Reads a secret key that nobody else can read; `None` if there is none.
pub fn read_key(path: &Path) -> Result<Option<SigningKey>, AuditError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mode = fs::metadata(path).map_err(failed("read", path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(AuditError::ExposedKey { path: path.to_owned(), mode });
    }
    SigningKey::from_pkcs8_der(&bytes).map(Some).map_err(|_| AuditError::DamagedKey { path: path.to_owned() })
}

/// Makes a secret key and keeps it.
pub fn new_key(path: &Path) -> Result<SigningKey, AuditError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| failed("draw randomness for", path)(io::Error::other(error)))?;
    let key = SigningKey::from_bytes(&seed);
    replace(path, key.to_pkcs8_der().map_err(|_| AuditError::DamagedKey { path: path.to_owned() })?.as_bytes())?;
    Ok(key)
}

/// Puts a file in another one's place, durably.
pub fn rename(from: &Path, to: &Path) -> Result<(), AuditError> {
    fs::rename(from, to).map_err(failed("replace", to))?;
    to.parent().map_or(Ok(()), sync_folder)
}

/// The last signed checkpoint, if there is one.
pub fn checkpoint(folder: &Path, origin: &str, key: &VerifyingKey) -> Result<Option<Checkpoint>, AuditError> {
    let path = folder.join("checkpoint");
    match fs::read(&path) {
        Ok(bytes) => {
            let note = String::from_utf8(bytes).ok().and_then(|note| Checkpoint::verify(&note, origin, key));
            note.map(Some).ok_or(AuditError::BadCheckpoint { path })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

/// Replaces the checkpoint.
pub fn write_checkpoint(folder: &Path, note: &str) -> Result<(), AuditError> {
    replace(&folder.join("checkpoint"), note.as_bytes())
}

/// How many full bundles there are, from the first on without a gap.
pub fn full_bundles(folder: &Path) -> Result<u64, AuditError> {
    let mut count = 0;
    while bundle_path(folder, count, TILE_WIDTH).try_exists().map_err(failed("look for", folder))? {
        count += 1;
    }
    Ok(count)
}

/// The entries of a full bundle.
pub fn bundle(folder: &Path, index: u64) -> Result<Vec<Vec<u8>>, AuditError> {
    let path = bundle_path(folder, index, TILE_WIDTH);
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    let (mut entries, mut rest) = (Vec::with_capacity(TILE_WIDTH), bytes.as_slice());
    let damaged = |position: usize| AuditError::Damaged { index: index * TILE_WIDTH as u64 + position as u64 };
    for position in 0..TILE_WIDTH {
        let (length, body) = rest.split_first_chunk::<2>().ok_or_else(|| damaged(position))?;
        let (entry, after) = body.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(|| damaged(position))?;
        entries.push(entry.to_vec());
        rest = after;
    }
    match rest.is_empty() {
        true => Ok(entries),
        false => Err(damaged(TILE_WIDTH)),
    }
}

/// Writes a bundle, full or partial by its length.
pub fn write_bundle(folder: &Path, index: u64, entries: &[Vec<u8>]) -> Result<(), AuditError> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| AuditError::TooLong { bytes: entry.len() })?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    replace(&bundle_path(folder, index, entries.len()), &bytes)
}

/// Writes a hash tile, full or partial by its length.
pub fn write_tile(folder: &Path, level: usize, index: u64, hashes: &[Hash]) -> Result<(), AuditError> {
    replace(&tile_path(folder, &level.to_string(), index, hashes.len()), hashes.as_flattened())
}

/// Takes away the partial tiles that a full one replaces, as the specification allows: each checkpoint leaves one behind, and a partial
/// bundle can be as large as a full one. What stays after all costs space and nothing else.
pub fn forget_partial(folder: &Path, level: Option<usize>, index: u64) {
    let level = level.map_or("entries".to_owned(), |level| level.to_string());
    if let Some(parts) = tile_path(folder, &level, index, 1).parent() {
        let _ = fs::remove_dir_all(parts);
    }
}

fn bundle_path(folder: &Path, index: u64, width: usize) -> PathBuf {
    tile_path(folder, "entries", index, width)
}

/// `tile/LEVEL/x001/x234/067[.p/WIDTH]`: groups of three digits, all but the last with an `x`.
fn tile_path(folder: &Path, level: &str, index: u64, width: usize) -> PathBuf {
    let mut groups = vec![format!("{:03}", index % 1_000)];
    let mut rest = index / 1_000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1_000));
        rest /= 1_000;
    }
    let mut path = folder.join("tile").join(level);
    path.extend(groups.iter().rev());
    if width < TILE_WIDTH {
        path.as_mut_os_string().push(".p");
        path.push(width.to_string());
    }
    path
}

/// Writes a file so that it is there whole, or not at all: a temporary file, synced, renamed, and the folder synced.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    create_folders(parent)?;
    let temporary = path.with_extension("new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary).map_err(failed("create", &temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("replace", path))?;
    sync_folder(parent)
}

/// Creates missing folders from the top, and syncs the parent of each, or a power loss could take a whole branch with it.
fn create_folders(folder: &Path) -> Result<(), AuditError> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_folders(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("create", folder)(error)),
        Ok(()) | Err(_) => sync_folder(parent),
    }
}

fn sync_folder(folder: &Path) -> Result<(), AuditError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}
