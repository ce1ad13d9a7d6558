//! A server on the loopback interface that answers as the hub does: a listing with the commit, small files at once,
//! large ones by a redirect to another path, ranges, ETags; and the ways in which it fails.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use sha2::{Digest, Sha256};

/// A repository at one commit.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) commit: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    pub(crate) fn new(commit: &str) -> Self {
        Self { commit: commit.into(), files: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.into(), bytes);
    }

    /// Adds all files of a folder and of the folders in it.
    pub(crate) fn add_folder(&mut self, top: &Path) {
        for entry in fs::read_dir(top).expect("the fixture") {
            let folder = entry.expect("an entry").path();
            let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
            if folder.is_file() {
                self.add(&name(&folder), fs::read(&folder).expect("a file"));
                continue;
            }
            for entry in fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                self.add(&format!("{}/{}", name(&folder), name(&path)), fs::read(&path).expect("a file"));
            }
        }
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.files.retain(|name, _| keep(name));
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }
}

/// What goes wrong with a repository.
#[derive(Clone)]
pub(crate) enum Fault {
    None,
    /// 401 without this token.
    Private {
        token: String,
    },
    /// The listing is public, the files are 403.
    Gated,
    /// Large files end in the middle, so many times.
    Cut {
        times: usize,
    },
    /// The last byte of large files is another.
    Flip,
    Status(u16),
    /// The page that a hotel's network shows to those who have not paid.
    NotAHub,
}

#[derive(Default)]
struct State {
    /// By `owner/name@revision`.
    repositories: BTreeMap<String, Repository>,
    /// By `owner/name`.
    faults: BTreeMap<String, Fault>,
    requests: Vec<String>,
    /// Files of which contents were asked for.
    fetched: Vec<String>,
    /// What was asked for of large files' contents.
    ranges: Vec<String>,
}

pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start<const N: usize>(repositories: [(&str, Repository); N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut state = State::default();
        for (id, repository) in repositories {
            state.repositories.insert(format!("{id}@main"), repository);
        }
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that hangs up early is no fault of the server's.
                thread::spawn(move || drop(Connection { address, state }.serve(stream)));
            }
        });
        Self { address, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn add_revision(&self, id: &str, revision: &str, repository: Repository) {
        self.state().repositories.insert(format!("{id}@{revision}"), repository);
    }

    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Repository)) {
        change(self.state().repositories.get_mut(&format!("{id}@main")).expect("a repository"));
    }

    pub(crate) fn fault(&self, id: &str, fault: Fault) {
        self.state().faults.insert(id.into(), fault);
    }

    /// Every request's path so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// The files whose contents were asked for, sorted.
    pub(crate) fn fetched(&self) -> Vec<String> {
        let mut fetched = self.state().fetched.clone();
        fetched.sort();
        fetched
    }

    /// The ranges of large files that were asked for.
    pub(crate) fn ranges(&self) -> Vec<String> {
        self.state().ranges.clone()
    }

    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.requests.clear();
        state.fetched.clear();
        state.ranges.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("unpoisoned")
    }
}

struct Connection {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// What the client asks.
struct Question {
    path: String,
    range: Option<String>,
    token: Option<String>,
}

/// What the server says.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// How many bytes of the body are sent, for a transfer that is cut short.
    sent: usize,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), sent: body.len(), body }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Connection {
    /// One request, then the connection is closed.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let question = read(&stream)?;
        let answer = self.answer(&question);
        write!(stream, "HTTP/1.1 {} Answer\r\nConnection: close\r\n", answer.status)?;
        write!(stream, "Content-Length: {}\r\n", answer.body.len())?;
        for (name, value) in &answer.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        stream.write_all(&answer.body[..answer.sent])
    }

    fn answer(&self, question: &Question) -> Answer {
        let mut state = self.state.lock().expect("unpoisoned");
        state.requests.push(question.path.clone());
        let parts: Vec<&str> = question.path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", "models", owner, name, "revision", revision] => {
                listing(&state, question, &format!("{owner}/{name}"), revision)
            }
            [owner, name, "resolve", revision, file @ ..] => {
                let id = format!("{owner}/{name}");
                self.file(&mut state, question, &id, revision, &file.join("/"))
            }
            ["cdn", owner, name, revision, file @ ..] => {
                contents(&mut state, question, &format!("{owner}/{name}"), revision, &file.join("/"))
            }
            _ => Answer::new(404, "Not Found"),
        }
    }

    /// Large files are elsewhere.
    fn file(&self, state: &mut State, question: &Question, id: &str, revision: &str, file: &str) -> Answer {
        if let Some(refusal) = refusal(state, question, id) {
            return refusal;
        }
        if let Some(Fault::Gated) = state.faults.get(id) {
            return Answer::new(403, "Access to this resource is restricted")
                .with("X-Error-Code", "GatedRepo");
        }
        let Some(repository) = state.repositories.get(&format!("{id}@{revision}")) else {
            return Answer::new(404, "").with("X-Error-Code", "RevisionNotFound");
        };
        let commit = repository.commit.clone();
        let Some(bytes) = repository.files.get(file) else {
            return Answer::new(404, "Entry not found").with("X-Error-Code", "EntryNotFound");
        };
        if !is_large(file) {
            let etag = format!("{:x}", Sha256::digest(bytes))[..40].to_string();
            note(state, question, file);
            let bytes = state.repositories[&format!("{id}@{revision}")].files[file].clone();
            return ranged(bytes, question).with("X-Repo-Commit", commit).with("ETag", format!("\"{etag}\""));
        }
        Answer::new(302, "Found")
            .with("Location", format!("http://{}/cdn/{id}/{revision}/{file}", self.address))
            .with("X-Repo-Commit", commit)
            .with("X-Linked-ETag", format!("\"{:x}\"", Sha256::digest(bytes)))
            .with("X-Linked-Size", bytes.len().to_string())
    }
}

/// The commit and the names of its files.
fn listing(state: &State, question: &Question, id: &str, revision: &str) -> Answer {
    if let Some(refusal) = refusal(state, question, id) {
        return refusal;
    }
    let Some(repository) = state.repositories.get(&format!("{id}@{revision}")) else {
        return Answer::new(404, r#"{"error":"Repository not found"}"#).with("X-Error-Code", "RepoNotFound");
    };
    let siblings: Vec<_> =
        repository.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
    let body = serde_json::json!({ "id": id, "sha": repository.commit, "siblings": siblings });
    Answer::new(200, body.to_string()).with("Content-Type", "application/json")
}

/// What a large file's storage says.
fn contents(state: &mut State, question: &Question, id: &str, revision: &str, file: &str) -> Answer {
    let mut bytes = state.repositories[&format!("{id}@{revision}")].files[file].clone();
    let whole = bytes.len();
    if note(state, question, file) {
        state.ranges.extend(question.range.clone());
        match state.faults.get_mut(id) {
            Some(Fault::Cut { times }) if *times > 0 => {
                *times -= 1;
                let mut answer = ranged(bytes, question);
                answer.sent = answer.sent.min(whole / 2);
                return answer;
            }
            Some(Fault::Flip) => bytes[whole - 1] ^= 1,
            _ => {}
        }
    }
    ranged(bytes, question)
}

/// Refusals that hold for the listing and the files.
fn refusal(state: &State, question: &Question, id: &str) -> Option<Answer> {
    match state.faults.get(id)? {
        Fault::Private { token } if question.token.as_ref() != Some(token) => {
            Some(Answer::new(401, "Invalid username or password.").with("X-Error-Code", "RepoNotFound"))
        }
        Fault::Status(status) => Some(Answer::new(*status, "")),
        Fault::NotAHub => Some(Answer::new(200, "<html>Room number, please</html>")),
        _ => None,
    }
}

/// Notes a question for contents; the first byte alone is how the client asks for the size.
fn note(state: &mut State, question: &Question, file: &str) -> bool {
    let contents = question.range.as_deref() != Some("bytes=0-0");
    if contents {
        state.fetched.push(file.into());
    }
    contents
}

/// The hub keeps large files in other storage than small ones.
fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".bin")
}

/// The part of a file that is asked for.
fn ranged(bytes: Vec<u8>, question: &Question) -> Answer {
    let Some(range) = question.range.as_deref().and_then(|range| range.strip_prefix("bytes=")) else {
        return Answer::new(200, bytes);
    };
    let (start, end) = range.split_once('-').expect("a range");
    let start: usize = start.parse().expect("a number");
    let end = end.parse().map_or(bytes.len(), |end: usize| bytes.len().min(end + 1));
    if start >= bytes.len() {
        return Answer::new(416, "").with("Content-Range", format!("bytes */{}", bytes.len()));
    }
    let content_range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
    Answer::new(206, &bytes[start..end]).with("Content-Range", content_range)
}

fn read(stream: &TcpStream) -> std::io::Result<Question> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_string();
    let mut question = Question { path, range: None, token: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => question.range = Some(value.trim().to_string()),
            "authorization" => question.token = value.trim().strip_prefix("Bearer ").map(String::from),
            _ => {}
        }
    }
    Ok(question)
}
