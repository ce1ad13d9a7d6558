//! Workers that are killed: nothing is lost, and nothing is drawn twice for a client.
//!
//! It wants `nats-server` on the path and the `serve` example of the repository, built; without them it says so and passes.

use std::{
    collections::HashMap,
    error::Error,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{self, consumer::pull, stream},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use serde_json::{Value, json};

const JOBS: u64 = 40;
const WORKERS: usize = 3;
/// How many are killed, one after the other.
const KILLED: usize = 6;

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &Path, arguments: &[&str]) -> Running {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display())))
}

/// The example of the repository.
fn serve() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let built = ["release", "debug"].map(|profile| own.join(profile).join("examples/serve"));
    std::env::var_os("HYPERSD_SERVE").map(PathBuf::from).into_iter().chain(built).find(|path| path.is_file())
}

/// A server, and its address.
fn drawing(program: &Path) -> (Running, String) {
    let mut command = Command::new(program);
    let command = command.args(["--port", "0", "--log", "error"]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the server runs");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("its output")).read_line(&mut line).expect("a line");
    (Running(child), line.trim().to_owned())
}

fn wanted(seed: u64) -> Value {
    json!({ "prompt": "a red mushroom in the meadow by day", "seed": seed, "steps": 2 })
}

/// What the server draws of a job when it is asked directly.
fn direct(server: &str, seed: u64) -> Vec<u8> {
    let url = format!("{server}/v1/images/generations");
    let request = ureq::post(&url).header("content-type", "application/json");
    let text =
        request.send(wanted(seed).to_string()).expect("an answer").body_mut().read_to_string().expect("text");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    STANDARD.decode(answer["data"][0]["b64_json"].as_str().expect("a picture")).expect("base64")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_is_drawn_twice() -> Result<(), Box<dyn Error>> {
    let Some(serve) = serve() else {
        println!("NOT RUN: the example is not built: cargo build --example serve");
        return Ok(());
    };
    if Command::new("nats-server").arg("--version").output().is_err() {
        println!("NOT RUN: nats-server is not installed");
        return Ok(());
    }
    let store = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let store = store.path().to_str().ok_or("a path that is text")?;
    let _nats = start(
        Path::new("nats-server"),
        &["--addr", "127.0.0.1", "--port", &port, "--jetstream", "--store_dir", store],
    );
    let nats = format!("nats://127.0.0.1:{port}");
    let began = Instant::now();
    let client = loop {
        match async_nats::connect(&nats).await {
            Ok(client) => break client,
            Err(error) if began.elapsed() > Duration::from_secs(20) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let jetstream = jetstream::new(client);
    let (_server, address) = drawing(&serve);
    let worker =
        || start(Path::new(env!("CARGO_BIN_EXE_hypersd-worker")), &["--nats", &nats, "--server", &address]);
    let mut workers: Vec<Running> = (0..WORKERS).map(|_| worker()).collect();
    // They make the streams.
    while jetstream.get_stream("HYPERSD_WANTED").await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "no stream");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ask = async |id: &str, body: String| -> Result<(), Box<dyn Error>> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        let subject = format!("hypersd.wanted.{id}");
        jetstream.publish_with_headers(subject, headers, body.into()).await?.await?;
        Ok(())
    };
    for seed in 0..JOBS {
        ask(&seed.to_string(), wanted(seed).to_string()).await?;
        ask(&seed.to_string(), wanted(seed).to_string()).await?; // who asks twice asks once
    }
    ask("wrong", json!({ "prompt": "x", "size": "1x1" }).to_string()).await?;
    for killed in 0..KILLED {
        tokio::time::sleep(Duration::from_millis(300)).await;
        workers[killed % WORKERS] = worker(); // the one before is killed when it is let go
    }
    let mut stored = jetstream.get_stream("HYPERSD_DRAWN").await?;
    while stored.info().await?.state.messages < JOBS + 1 {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "{} of {JOBS}",
            stored.cached_info().state.messages
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut left = jetstream.get_stream("HYPERSD_WANTED").await?;
    while left.info().await?.state.messages > 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "a job is not acknowledged");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let answers = all(&stored, JOBS + 1).await?;
    assert_eq!(answers.len() as u64, JOBS + 1, "one answer for each");
    for seed in [0, JOBS / 2, JOBS - 1] {
        assert!(answers[&format!("hypersd.drawn.{seed}")] == direct(&address, seed), "picture {seed}");
    }
    let failure = String::from_utf8_lossy(&answers["hypersd.failed.wrong"]).into_owned();
    assert!(failure.contains("multiple of"), "{failure}");
    Ok(())
}

/// So many messages of a stream, by their subjects; two of one would be one here.
async fn all(stored: &stream::Stream, count: u64) -> Result<HashMap<String, Vec<u8>>, Box<dyn Error>> {
    let consumer = stored.create_consumer(pull::Config::default()).await?;
    let mut messages = consumer.fetch().max_messages(count as usize + 1).messages().await?;
    let mut found = HashMap::new();
    while let Some(message) = messages.next().await {
        let message = message?;
        found.insert(message.subject.to_string(), message.payload.to_vec());
        message.ack().await?;
    }
    Ok(found)
}
