//! Who we are to an S3-compatible server, and where it is: the AWS environment and profiles, read by AWS's own crate, so that what
//! works with `aws s3` works here. No key is ever an argument.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use kubewright_core::spec::Backup;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, AwsCredentialProvider, Checksum};
use object_store::{BackoffConfig, Certificate, ClientOptions, CredentialProvider, RetryConfig};
use tokio::sync::Mutex;

use crate::store::copies::{CopiesError, CopiesFault};

/// AWS's own variables: the endpoint of S3 alone, and authorities for its certificate.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";
const AUTHORITIES: &str = "AWS_CA_BUNDLE";

/// What other servers than AWS take for a region where none is set (MinIO, Ceph, Garage).
const REGION: &str = "us-east-1";

/// Time for TCP and TLS.
const CONNECT: Duration = Duration::from_secs(10);

/// Time for a request and its answer. A part of 8 MiB through a line of 1 Mbit/s takes 70 s.
const REQUEST: Duration = Duration::from_secs(300);

/// How often a request is sent again that broke, or that the server was too busy for: with these pauses, which vary by chance, that is a
/// quarter of a minute, past a server that restarts, and short enough to tell a person that it is gone.
const TRIES: usize = 6;
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
const GROWTH: f64 = 3.0;

/// How long a request is tried in all. Some ways to fail are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Credentials that end sooner are asked for anew: an upload's next request must not be the one that finds them expired.
const AHEAD: Duration = Duration::from_secs(300);

/// How a bucket is reached.
#[derive(Clone)]
pub struct Access {
    /// The server; where none is named, that of the environment or profile, else AWS.
    pub endpoint: Option<String>,
    /// The region; where none is named, that of the environment or profile.
    pub region: Option<String>,
    /// Credentials; where none are given, those of the environment, the profile, or the machine.
    pub credentials: Option<AwsCredentialProvider>,
    /// How often a request is sent again that failed in a way that may pass.
    pub tries: usize,
}

impl Default for Access {
    fn default() -> Self {
        Self { endpoint: None, region: None, credentials: None, tries: TRIES }
    }
}

impl Access {
    /// What a spec says of it, under what the command line says.
    pub fn of(backup: &Backup, endpoint: Option<String>) -> Self {
        let endpoint = endpoint.or_else(|| backup.endpoint.clone());
        Self { endpoint, region: backup.region.clone(), ..Self::default() }
    }

    pub(super) async fn client(&self, bucket: &str) -> Result<AmazonS3, CopiesError> {
        let place = format!("s3://{bucket}");
        let unusable = |said: String| CopiesError::new(CopiesFault::Unusable, &place, said);
        let named = self.endpoint.clone().or_else(|| variable(ENDPOINT));
        let (endpoint, region, credentials) = match (&named, &self.credentials) {
            (Some(endpoint), Some(credentials)) => {
                let region = self.region.clone().or_else(|| variable("AWS_REGION"));
                (Some(endpoint.clone()), region, credentials.clone())
            }
            _ => {
                let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
                // Left out, AWS's crate asks the machine's own metadata service, which elsewhere than in AWS takes seconds.
                if let Some(region) = self.region.clone().or_else(|| named.as_ref().and(variable("AWS_REGION"))) {
                    loader = loader.region(Region::new(region));
                }
                let config = loader.load().await;
                let endpoint = named.or_else(|| config.endpoint_url().map(str::to_owned));
                let region = config.region().map(ToString::to_string);
                let credentials: AwsCredentialProvider = match &self.credentials {
                    Some(credentials) => credentials.clone(),
                    None => {
                        let provider =
                            config.credentials_provider().ok_or_else(|| unusable("no credentials".to_owned()))?;
                        let ambient = Ambient { provider, kept: Mutex::new(None) };
                        // Asked for now, so that their lack is told as what it is.
                        ambient
                            .credentials()
                            .await
                            .map_err(|said| CopiesError::new(CopiesFault::Credentials, &place, said))?;
                        Arc::new(ambient)
                    }
                };
                (endpoint, region, credentials)
            }
        };
        let mut options = ClientOptions::new().with_connect_timeout(CONNECT).with_timeout(REQUEST);
        if let Some(path) = variable(AUTHORITIES) {
            let pem = std::fs::read(&path).map_err(|error| unusable(format!("{AUTHORITIES}={path}: {error}")))?;
            let authorities = Certificate::from_pem_bundle(&pem);
            for authority in authorities.map_err(|error| unusable(format!("{AUTHORITIES}={path}: {error}")))? {
                options = options.with_root_certificate(authority);
            }
        }
        let backoff = BackoffConfig { init_backoff: PAUSE, max_backoff: LONGEST_PAUSE, base: GROWTH };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region.unwrap_or_else(|| REGION.to_owned()))
            .with_credentials(credentials)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig { backoff, max_retries: self.tries, retry_timeout: PATIENCE });
        if let Some(endpoint) = endpoint {
            // Whoever writes http:// wants it; bodies are signed all the same.
            options = options.with_allow_http(endpoint.starts_with("http://"));
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        builder.with_client_options(options).build().map_err(|error| unusable(error.to_string()))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Credentials of the environment, a profile or the machine, asked for anew before they end.
#[derive(Debug)]
struct Ambient {
    provider: SharedCredentialsProvider,
    kept: Mutex<Option<Credentials>>,
}

impl Ambient {
    async fn credentials(&self) -> Result<Credentials, String> {
        let mut kept = self.kept.lock().await;
        let lasts = |credentials: &&Credentials| credentials.expiry().is_none_or(|end| end > SystemTime::now() + AHEAD);
        if let Some(credentials) = kept.as_ref().filter(lasts) {
            return Ok(credentials.clone());
        }
        let credentials = self.provider.provide_credentials().await.map_err(|error| {
            let mut deepest: &(dyn std::error::Error + 'static) = &error;
            while let Some(cause) = deepest.source() {
                deepest = cause;
            }
            format!("no credentials for it: {deepest}")
        })?;
        *kept = Some(credentials.clone());
        Ok(credentials)
    }
}

#[async_trait]
impl CredentialProvider for Ambient {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let credentials = self
            .credentials()
            .await
            .map_err(|said| object_store::Error::Unauthenticated { path: String::new(), source: said.into() })?;
        Ok(Arc::new(AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        }))
    }
}
