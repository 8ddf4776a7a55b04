//! Another signing key, when the old one may be known to others or its keeper leaves.
//!
//! What hands a log over is a checkpoint with one more line, `key-rotation OLD NEW`, signed by both keys and kept as `rotations/NNN`: the old
//! key says which one comes after it, the new one that it is there, and both what the log was at that time. From then on the old key vouches
//! for nothing more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;

use super::Log;
use super::checkpoint::{Checkpoint, signature_line, verifier_key};
use super::error::AuditError;
use super::files;

/// Between a key and the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The verifier key before.
    pub from: String,
    /// The verifier key after.
    pub to: String,
}

impl Log {
    /// Makes another signing key and hands the log over to it. The old one is overwritten.
    ///
    /// # Guarantees
    /// When the process dies in between, the next [`Log::open`] either finishes or undoes it.
    ///
    /// # Errors
    /// Any error poisons the log; opening it again finishes what was begun, or undoes it.
    pub fn rotate_key(&mut self) -> Result<Rotation, AuditError> {
        // The tiles of this size, so that whoever reads the hand-over can check it.
        self.checkpoint()?;
        self.poisoned = true;
        let next = files::new_key(&next_path(&self.folder))?;
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: self.size(), root: self.tree.root() };
        let key = |key: &SigningKey| verifier_key(&self.origin, &key.verifying_key());
        let rotation = Rotation { from: key(&self.key), to: key(&next) };
        let text = format!("{}key-rotation {} {}\n", checkpoint.text(), rotation.from, rotation.to);
        let signatures = [&self.key, &next].map(|key| signature_line(&self.origin, key, &text)).concat();
        let number = notes(&self.folder)?.len() + 1;
        // From here on it is so.
        files::replace(&self.folder.join("rotations").join(format!("{number:03}")), format!("{text}\n{signatures}").as_bytes())?;
        finish(&self.folder, &checkpoint, &next)?;
        self.key = files::signing_key(&self.folder, &self.origin)?;
        self.poisoned = false;
        Ok(rotation)
    }
}

/// Finishes a rotation that a crash cut off, if its hand-over is there, and undoes it otherwise.
pub fn resume(folder: &Path, origin: &str) -> Result<(), AuditError> {
    let path = next_path(folder);
    let Some(next) = files::read_key(&path)? else { return Ok(()) };
    let line = format!(" {}\n", verifier_key(origin, &next.verifying_key()));
    match notes(folder)?.into_iter().find(|(_, note)| note.split_once("\n\n").is_some_and(|(text, _)| format!("{text}\n").ends_with(&line)))
    {
        Some((path, note)) => {
            let checkpoint = handed_over(&note, origin).ok_or(AuditError::BadCheckpoint { path })?;
            finish(folder, &checkpoint, &next)
        }
        None => fs::remove_file(&path).map_err(files::failed("remove", &path)),
    }
}

/// The new key signs what the log was, and takes the old one's place last: until then, this comes again.
fn finish(folder: &Path, checkpoint: &Checkpoint, next: &SigningKey) -> Result<(), AuditError> {
    files::write_checkpoint(folder, &checkpoint.sign(next))?;
    files::rename(&next_path(folder), &folder.join("signing-key"))
}

fn next_path(folder: &Path) -> PathBuf {
    folder.join("signing-key.next")
}

/// What a hand-over says the log was. It is not verified: the new key beside it is as secret as the old one, and opening compares the root.
fn handed_over(note: &str, origin: &str) -> Option<Checkpoint> {
    let mut lines = note.lines().skip(1);
    let (size, root) = (lines.next()?.parse().ok()?, STANDARD.decode(lines.next()?).ok()?.try_into().ok()?);
    Some(Checkpoint { origin: origin.to_owned(), size, root })
}

/// The hand-overs that are there.
fn notes(folder: &Path) -> Result<Vec<(PathBuf, String)>, AuditError> {
    let folder = folder.join("rotations");
    let listed = match fs::read_dir(&folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(files::failed("list", &folder)(error)),
    };
    let mut notes = Vec::new();
    for entry in listed {
        let path = entry.map_err(files::failed("list", &folder))?.path();
        // One that was not written whole has another name.
        if path.extension().is_none() {
            let note = fs::read_to_string(&path).map_err(files::failed("read", &path))?;
            notes.push((path, note));
        }
    }
    Ok(notes)
}
