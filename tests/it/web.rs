//! A web server of this machine that behaves as badly as a test wants: cuts answers off, ignores ranges, dawdles, refuses.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl Request {
    /// First byte wanted; `None` where the whole is.
    pub fn offset(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Only so many bytes of the body come, then the connection ends.
    pub cut: Option<usize>,
    /// Only so many bytes of the body come, then nothing more for ever.
    pub stall: Option<usize>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn whole(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    /// As a server that can resume answers.
    pub fn ranged(request: &Request, body: &[u8]) -> Self {
        match request.offset() {
            None => Self::whole(body),
            Some(from) if from >= body.len() => {
                Self::status(416).with("Content-Range", format!("bytes */{}", body.len()))
            }
            Some(from) => Self { status: 206, body: body[from..].to_vec(), ..Self::default() }
                .with("Content-Range", format!("bytes {from}-{}/{}", body.len() - 1, body.len())),
        }
    }

    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub fn stall(mut self, after: usize) -> Self {
        self.stall = Some(after);
        self
    }
}

/// Answers until the test ends.
pub struct Web {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Web {
    /// `answer` is given the number of the request, from 0, and the request.
    pub fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, answer) = (Arc::clone(&web.asked), Arc::new(answer));
        // It ends with the process; a test's server is idle after the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                thread::spawn(move || serve(&stream, &asked, answer.as_ref()));
            }
        });
        web
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

/// One request a connection, so that a connection cut off is one answer cut off.
fn serve(stream: &TcpStream, asked: &Mutex<Vec<Request>>, answer: &(dyn Fn(usize, &Request) -> Reply + Send + Sync)) {
    let Some(request) = read(stream) else { return };
    let number = {
        let mut asked = asked.lock().unwrap();
        asked.push(request.clone());
        asked.len() - 1
    };
    let reply = answer(number, &request);
    let mut head =
        format!("HTTP/1.1 {} Whatever\r\nConnection: close\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let end = reply.cut.or(reply.stall).unwrap_or(reply.body.len()).min(reply.body.len());
    let body = if request.method == "HEAD" { &[][..] } else { &reply.body[..end] };
    let mut stream = stream;
    // A client that has gone away is none of our business.
    let sent = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
    if sent.is_ok() && reply.stall.is_some() {
        // Until the client gives up.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        let _ = BufReader::new(stream).read_line(&mut String::new());
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Some(Request { method, path, headers })
}
