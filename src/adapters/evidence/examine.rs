//! Whether the place for copies can be used as it should be: created and read, and not overwritten.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, header};
use object_store::gcp::GcpCredentialProvider;
use serde_json::Value;

use super::bucket::BucketError;
use super::gcs;
use crate::adapters::http::call;
use crate::core::diagnosis::Check;
use crate::ports::Examined;

/// Where Cloud Storage is asked about permissions.
const STORAGE: &str = "https://storage.googleapis.com";
/// What copying needs.
const NEEDED: [&str; 3] = ["storage.objects.create", "storage.objects.get", "storage.objects.list"];
/// What would let Stanch, or whoever takes its identity, change what was copied.
const TOO_MUCH: [&str; 2] = ["storage.objects.delete", "storage.objects.update"];

/// The place for copies, before it is needed.
#[derive(Debug)]
pub enum BucketExamination {
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// Its name.
        bucket: String,
        /// Another address than Google's.
        endpoint: Option<String>,
        /// Who asks.
        credentials: GcpCredentialProvider,
    },
    /// A folder.
    Folder(PathBuf),
}

impl BucketExamination {
    /// Of a bucket of Google Cloud Storage. Another `endpoint` than Google's gets no token.
    ///
    /// # Errors
    /// [`BucketError::Credentials`].
    pub fn in_gcs(bucket: &str, endpoint: Option<&str>) -> Result<Self, BucketError> {
        let credentials = gcs::credentials(endpoint)?;
        Ok(Self::Gcs { bucket: bucket.to_owned(), endpoint: endpoint.map(|url| url.trim_end_matches('/').to_owned()), credentials })
    }
}

#[async_trait]
impl Examined for BucketExamination {
    async fn examine(&self, _commands: &BTreeSet<&'static str>) -> Vec<Check> {
        vec![match self {
            Self::Gcs { bucket, endpoint, credentials } => match granted(bucket, endpoint.as_deref(), credentials).await {
                Ok(granted) => judged(bucket, &granted),
                Err(why) => Check::fail(
                    "permissions",
                    format!("gs://{bucket}: not known: {why}"),
                    "correct `bucket` of [evidence], or the network between",
                ),
            },
            Self::Folder(folder) => match tried(folder) {
                Ok(()) => Check::ok("folder", format!("`{}` takes new files, and is read", folder.display())),
                Err(error) => {
                    let found = format!("`{}` cannot be used: {error}", folder.display());
                    Check::fail("folder", found, "mount it, and give it to the user that Stanch runs as")
                }
            },
        }]
    }
}

fn judged(bucket: &str, granted: &BTreeSet<String>) -> Check {
    let name = "permissions";
    let missing: Vec<&str> = NEEDED.into_iter().filter(|permission| !granted.contains(*permission)).collect();
    let too_much: Vec<&str> = TOO_MUCH.into_iter().filter(|permission| granted.contains(*permission)).collect();
    if !missing.is_empty() {
        let hint = "grant Stanch's account roles/storage.objectCreator and roles/storage.objectViewer on the bucket";
        return Check::fail(name, format!("gs://{bucket} does not grant: {}", missing.join(", ")), hint);
    }
    match too_much.is_empty() {
        true => Check::ok(name, format!("gs://{bucket} lets Stanch create and read, and not overwrite or delete")),
        false => {
            let hint = "take them away, and set a retention policy: who takes Stanch's identity could change evidence";
            Check::warn(name, format!("gs://{bucket} grants more than is needed: {}", too_much.join(", ")), hint)
        }
    }
}

/// Which of the permissions the bucket grants. Asking needs none.
async fn granted(bucket: &str, endpoint: Option<&str>, credentials: &GcpCredentialProvider) -> Result<BTreeSet<String>, String> {
    let asked: Vec<String> = NEEDED.into_iter().chain(TOO_MUCH).map(|permission| format!("permissions={permission}")).collect();
    let url = format!("{}/storage/v1/b/{bucket}/iam/testPermissions?{}", endpoint.unwrap_or(STORAGE), asked.join("&"));
    let credential = credentials.get_credential().await.map_err(|error| format!("no credentials: {error}"))?;
    let mut headers = HeaderMap::new();
    if !credential.bearer.is_empty() {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", credential.bearer)).map_err(|_| "no credentials: an unusual token".to_owned())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    let answer = call(Method::GET, &url, headers, String::new(), url.starts_with("http://")).await?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !answer.status.is_success() {
        let said = body.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
        return Err(format!("Cloud Storage answers {}: {}", answer.status, said.chars().take(200).collect::<String>()));
    }
    let granted = body.get("permissions").and_then(Value::as_array).into_iter().flatten();
    Ok(granted.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Creates a file, reads it and takes it away.
fn tried(folder: &Path) -> io::Result<()> {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&probe)?;
    let outcome = file.write_all(b"stanch doctor").and_then(|()| file.sync_all()).and_then(|()| fs::read(&probe).map(drop));
    fs::remove_file(&probe).and(outcome)
}
