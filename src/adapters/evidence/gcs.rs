//! A bucket of Google Cloud Storage: over our own client, as the identity that Compute Engine knows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use google_cloud_auth::credentials::AccessTokenCredentials;
use http_body_util::BodyExt as _;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
    StaticCredentialProvider,
};
use object_store::gcp::{GcpCredential, GcpCredentialProvider, GoogleCloudStorageBuilder};
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, RetryConfig};

use super::EvidenceFolder;
use super::bucket::{BucketError, EvidenceBucket};
use crate::adapters::http;

/// The store tries a call again by itself, for hiccups; what lasts longer is tried again by who asked.
const TRIES_AGAIN: usize = 2;
/// How long that may take.
const RETRY_LIMIT: Duration = Duration::from_secs(30);

impl EvidenceBucket {
    /// Copies into a bucket of Google Cloud Storage, as the application default credentials: Workload Identity inside GKE. Another `endpoint`
    /// than Google's gets no token.
    ///
    /// # Errors
    /// [`BucketError`], such as no application default credentials.
    pub fn in_gcs(bucket: &str, prefix: &str, endpoint: Option<&str>, folder: EvidenceFolder) -> Result<Self, BucketError> {
        let credentials = credentials(endpoint)?;
        let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let connector = http::connector(is_plain).map_err(BucketError::Client)?;
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: TRIES_AGAIN, retry_timeout: RETRY_LIMIT };
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_credentials(credentials)
            .with_retry(retry)
            .with_http_connector(Way(Client::builder(TokioExecutor::new()).build(connector)));
        if let Some(endpoint) = endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        let store = builder.build().map_err(BucketError::Store)?;
        let place = [format!("gs://{bucket}"), prefix.to_owned()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        Ok(Self::new(Arc::new(store), prefix, place, folder))
    }
}

/// Who calls: the workload; nobody, to another endpoint than Google's.
pub(super) fn credentials(endpoint: Option<&str>) -> Result<GcpCredentialProvider, BucketError> {
    if endpoint.is_some() {
        return Ok(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: String::new() })));
    }
    let builder = google_cloud_auth::credentials::Builder::default();
    Ok(Arc::new(Identity(builder.build_access_token_credentials().map_err(BucketError::Credentials)?)))
}

/// Tokens of the workload.
#[derive(Debug)]
struct Identity(AccessTokenCredentials);

#[async_trait]
impl CredentialProvider for Identity {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let token = self.0.access_token().await;
        let token = token.map_err(|error| object_store::Error::Generic { store: "GCS", source: Box::new(error) })?;
        Ok(Arc::new(GcpCredential { bearer: token.token }))
    }
}

/// The way to the store: TLS with ring, as everywhere here.
#[derive(Clone, Debug)]
struct Way(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

impl HttpConnector for Way {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Way {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.request(request).await.map_err(|error| {
            let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
            HttpError::new(kind, error)
        })?;
        Ok(response.map(|body| HttpResponseBody::new(body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)))))
    }
}
