//! Draws for others: a page on this machine, and whatever speaks OpenAI's or AUTOMATIC1111's interface.
//!
//! ```sh
//! cargo run --release --example serve
//! cargo run --release --example serve -- --model stable-diffusion-v1-5 --vae taesd \
//!     --lora Hyper-SD15-1step-lora.safetensors --recipe hyper-sd15-unified
//! ```
//!
//! docs/server.md says what it answers. Exit status: 0 when it was told to go, 2 for a command line that cannot be right, 1 for everything
//! else.

mod a1111;
mod artist;
mod body;
#[path = "../generate/device.rs"]
mod device;
mod draw;
mod frame;
mod guard;
#[path = "../generate/hub.rs"]
mod hub;
mod job;
mod jobs;
mod live;
mod metrics;
mod openai;
mod options;
mod page;
mod pictures;
mod queue;
mod refusal;
mod routes;
#[path = "../generate/say.rs"]
mod say;
mod seeds;
mod server;
#[path = "../generate/source.rs"]
mod source;
mod studio;
#[path = "../generate/threads.rs"]
mod threads;

use std::{
    error::Error,
    fs,
    io::{IsTerminal, stderr},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
};

use clap::Parser;
use tokio::{net::TcpListener, runtime::Runtime, signal, sync::watch, time::timeout};

use crate::{
    a1111::Progress,
    artist::Artist,
    guard::Guard,
    jobs::Jobs,
    metrics::Metrics,
    options::Options,
    queue::Queue,
    refusal::Refusal,
    server::{Server, now},
    studio::Studio,
};

/// A command line that cannot be right, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse().or_demo();
    let done =
        if options.list_devices { say::print(&device::table()).map_err(Into::into) } else { run(&options) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::line(format_args!("error: {error}"));
            let usage = error.downcast_ref::<hypersd::Error>().is_some_and(hypersd::Error::is_request)
                || error.downcast_ref().is_some_and(device::Refused::is_usage);
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    threads::start()?; // before anything computes
    let log = tracing_subscriber::fmt().with_max_level(options.log).with_writer(stderr);
    log.with_ansi(stderr().is_terminal()).init();
    let token = options.token_file.as_deref().map(read_token).transpose()?;
    let studio = Studio::open(options)?;
    let (go, going) = watch::channel(false);
    let server = Arc::new(Server {
        studio,
        limits: options.limits.clone(),
        queue: Queue::new(options.limits.queue),
        metrics: Metrics::new(),
        jobs: Jobs::default(),
        progress: Progress::default(),
        going,
        began: now(),
    });
    thread::Builder::new().name("artist".into()).spawn({
        let server = server.clone();
        move || {
            let Server { studio, queue, limits, metrics, .. } = &*server;
            Artist { studio, queue, limits, metrics }.run();
        }
    })?;
    // The thread that draws ends with the program, whatever it is drawing.
    Runtime::new()?.block_on(serve(options, token, server, go))
}

/// Answers until told to go; what is being drawn then is finished, if it takes no longer than the grace.
async fn serve(
    options: &Options,
    token: Option<Arc<str>>,
    server: Arc<Server>,
    go: watch::Sender<bool>,
) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((options.host, options.port)).await?;
    let address = listener.local_addr()?;
    let guard =
        Guard { token, origins: options.origins.clone().into(), loopback: options.host.is_loopback() };
    if !guard.loopback && guard.token.is_none() {
        tracing::warn!("whoever reaches {address} can draw: there is no token");
    }
    let service = routes::routes(server.clone(), guard).into_make_service_with_connect_info::<SocketAddr>();
    // The first line of standard output, for whoever started this.
    say::print(&format!("http://{address}\n"))?;
    let mut going = server.going.clone();
    let ends = async move {
        let _ = going.wait_for(|going| *going).await;
    };
    let serving = tokio::spawn(axum::serve(listener, service).with_graceful_shutdown(ends).into_future());
    told_to_go().await?;
    tracing::info!("going down");
    go.send_replace(true);
    for job in server.queue.close() {
        job.end(Err(Refusal::going_down()));
    }
    match timeout(options.limits.grace, serving).await {
        Ok(served) => Ok(served??),
        Err(_) => {
            tracing::warn!("what was being drawn is not finished");
            Ok(())
        }
    }
}

/// Waits for an interrupt from the keyboard, or for what a service manager sends.
async fn told_to_go() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    signal::ctrl_c().await
}

fn read_token(path: &Path) -> Result<Arc<str>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let token = text.trim();
    let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    match fits {
        true => Ok(token.into()),
        false => {
            Err(format!("{}: expected a token of letters, digits and signs in one line", path.display()))
        }
    }
}
