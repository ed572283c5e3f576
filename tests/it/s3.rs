//! An S3 server of this machine: the crate s3s, which checks every signature and the SHA-256 of every body, over a folder. Between it
//! and whoever asks stands something that misbehaves as a test wants.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kubewright::store::objects::Access;
use object_store::StaticCredentialProvider;
use object_store::aws::AwsCredential;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub const KEY: &str = "AKIALAB";
pub const SECRET: &str = "a secret that is shown nowhere";

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The server answers this status, with this code.
    Answers(u16, &'static str),
    /// The server is gone from now on.
    Goes,
    /// A bit of the body changes on the way.
    Flips,
}

/// A request that came: `PUT /bucket/key?query`.
type Asked = String;
type Rule = Box<dyn Fn(&str) -> Option<Fault> + Send>;

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    rule: Mutex<Option<Rule>>,
    gone: AtomicBool,
}

/// It ends when this is dropped.
pub struct S3Server {
    address: SocketAddr,
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl S3Server {
    /// With one bucket.
    pub fn start(bucket: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(bucket)).unwrap();
        let service = {
            let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
            builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
            builder.build()
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn({
            let shared = shared.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener).unwrap();
                    tokio::select! {
                        () = serve(listener, service, shared) => {}
                        _ = ended => {}
                    }
                });
            }
        });
        Self { address, folder, shared, end: Some(end), thread: Some(thread) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The way to it with these keys.
    pub fn access_as(&self, key: &str, secret: &str) -> Access {
        let credential = AwsCredential { key_id: key.to_owned(), secret_key: secret.to_owned(), token: None };
        let credentials = Arc::new(StaticCredentialProvider::new(credential));
        Access { endpoint: Some(self.endpoint()), credentials: Some(credentials), tries: 2, ..Access::default() }
    }

    pub fn access(&self) -> Access {
        self.access_as(KEY, SECRET)
    }

    /// What a program finds in its environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_ENDPOINT_URL_S3", self.endpoint()),
        ]
    }

    /// From now on requests that the rule names go wrong.
    pub fn misbehave(&self, rule: impl Fn(&str) -> Option<Fault> + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// All goes well again.
    pub fn behave(&self) {
        *self.shared.rule.lock().unwrap() = None;
        self.shared.gone.store(false, Ordering::Relaxed);
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    /// Where an object's bytes are.
    pub fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.path().join(bucket).join(key)
    }

    /// Keys of a bucket, and parts of uploads that were neither completed nor given up.
    pub fn objects(&self, bucket: &str) -> (Vec<String>, usize) {
        let mut keys = Vec::new();
        let root = self.folder.path().join(bucket);
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => keys.push(entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        keys.sort();
        let parts = self.folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let parts = parts.filter(|name| name.to_string_lossy().starts_with(".upload_id-")).count();
        (keys, parts)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, service: S3Service, shared: Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        if shared.gone.load(Ordering::Relaxed) {
            continue;
        }
        let (service, shared) = (service.clone(), shared.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(service.clone(), shared.clone(), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

/// An error ends the connection.
async fn answer(
    service: S3Service,
    shared: Arc<Shared>,
    request: http::Request<Incoming>,
) -> Result<http::Response<s3s::Body>, &'static str> {
    let asked = format!("{} {}", request.method(), request.uri());
    shared.asked.lock().unwrap().push(asked.clone());
    let fault = shared.rule.lock().unwrap().as_ref().and_then(|rule| rule(&asked));
    let (parts, body) = request.into_parts();
    let mut body = body.collect().await.map_err(|_| "it broke")?.to_bytes().to_vec();
    match fault {
        _ if shared.gone.load(Ordering::Relaxed) => return Err("gone"),
        Some(Fault::Goes) => {
            shared.gone.store(true, Ordering::Relaxed);
            return Err("gone");
        }
        Some(Fault::Answers(status, code)) => {
            let text = format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test wants</Message></Error>"
            );
            return Ok(http::Response::builder().status(status).body(s3s::Body::from(text)).unwrap());
        }
        Some(Fault::Flips) => {
            if let Some(byte) = body.last_mut() {
                *byte ^= 1;
            }
        }
        None => {}
    }
    let request = http::Request::from_parts(parts, Full::new(Bytes::from(body)));
    tower::ServiceExt::oneshot(service, request).await.map_err(|_| "it broke")
}
