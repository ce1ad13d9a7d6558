//! Drawing for a page while somebody draws: the WebSocket, as docs/server.md has it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::{IntoResponse, Response},
};
use hypersd::{Image, LivePicture, Skipped, TextChunk};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver},
        watch,
    },
    time::{interval, timeout},
};

use crate::{
    artist::times,
    draw::{Checked, Draw},
    frame::{self, Frame},
    job::{Done, Event, Job, User, Watch, What},
    refusal::Refusal,
    server::Server,
};

/// The subprotocol.
pub(crate) const PROTOCOL: &str = "hypersd.live.1";

/// Between two pings, and the longest that a page may say nothing, not even that it had one.
const PING: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(70);
/// The longest that a page may take to read what it is sent.
const SLOW: Duration = Duration::from_secs(30);

/// Numbers the pages.
static PAGES: AtomicU64 = AtomicU64::new(0);

/// What a page says.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    preview: bool,
    similar: Option<f32>,
    #[serde(default)]
    encoding: Encoding,
    #[serde(flatten)]
    draw: Draw,
}

/// How a page wants its pictures.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Png,
    Rgba,
}

/// A request that can be drawn, and how it is to be answered.
struct Ready {
    id: u64,
    preview: bool,
    similar: Option<f32>,
    encoding: Encoding,
    text: Vec<TextChunk>,
    checked: Checked,
}

/// What a message comes to.
enum Heard {
    Draw(Box<Ready>),
    Cancel,
    /// Something that a later version says.
    Unknown,
    /// A draw that cannot be right, if it had an id.
    Wrong(Option<u64>, Refusal),
}

/// One page.
struct Page {
    server: Arc<Server>,
    user: User,
    socket: WebSocket,
    watch: Watch,
    /// Lives as long as this; what is remembered for the page goes with it.
    alive: Arc<()>,
    /// How the requests that are not answered yet are to be, the oldest first: one is drawn, and one waits.
    asked: Vec<Asked>,
    /// Numbers the requests: ids are the page's, and need not differ.
    count: u64,
    heard: Instant,
}

/// A request that is not answered yet.
struct Asked {
    number: u64,
    /// The page's.
    id: u64,
    seed: u64,
    encoding: Encoding,
    /// What a file is to say that the picture was made of.
    text: Vec<TextChunk>,
}

/// Nobody is there any more, or is to be.
struct Gone;

/// `GET /live`.
pub(crate) async fn upgrade(State(server): State<Arc<Server>>, upgrade: WebSocketUpgrade) -> Response {
    let most = i64::try_from(server.limits.live).unwrap_or(i64::MAX);
    if server.metrics.pages.get() >= most {
        return Refusal::busy(10).into_response();
    }
    let body = server.limits.body;
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(body).max_frame_size(body);
    upgrade.on_upgrade(move |socket| async move {
        let number = PAGES.fetch_add(1, Ordering::Relaxed);
        let (events, coming) = mpsc::unbounded_channel();
        let page = Page {
            user: format!("page {number}").into(),
            socket,
            watch: Watch::new(events),
            alive: Arc::new(()),
            asked: Vec::new(),
            count: 0,
            heard: Instant::now(),
            server,
        };
        page.server.metrics.pages.inc();
        tracing::info!(page = number, "a page has come");
        page.run(coming).await;
        tracing::info!(page = number, "a page has gone");
    })
}

impl Drop for Page {
    fn drop(&mut self) {
        self.watch.stop();
        self.server.queue.withdraw(&self.user);
        self.server.metrics.pages.dec();
    }
}

impl Page {
    async fn run(mut self, mut coming: UnboundedReceiver<Event>) {
        let mut going = self.server.going.clone();
        let mut pings = interval(PING);
        let _: Result<(), Gone> = async {
            self.say(&self.ready()).await?;
            self.say(&json!({ "type": "next" })).await?;
            loop {
                tokio::select! {
                    message = self.socket.recv() => match message {
                        Some(Ok(message)) => self.hear(message).await?,
                        Some(Err(error)) => return self.refuse(error).await,
                        None => return Err(Gone),
                    },
                    Some(event) = coming.recv() => self.answer(event).await?,
                    _ = pings.tick() => {
                        if self.heard.elapsed() > SILENCE {
                            return Err(Gone);
                        }
                        self.send(Message::Ping(Bytes::new())).await?;
                    }
                    () = is_true(&mut going) => {
                        let reason = "the server is going down".into();
                        let close = CloseFrame { code: close_code::AWAY, reason };
                        return self.send(Message::Close(Some(close))).await;
                    }
                }
            }
        }
        .await;
    }

    /// Ends what cannot be read on; a message that is too large is told to be.
    async fn refuse(&mut self, error: axum::Error) -> Result<(), Gone> {
        let error = error.into_inner();
        let too_large = matches!(error.downcast_ref(), Some(tungstenite::Error::Capacity(_)));
        let code = if too_large { close_code::SIZE } else { close_code::PROTOCOL };
        self.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await
    }

    /// What a page is told first.
    fn ready(&self) -> Value {
        let Server { studio, limits, .. } = &*self.server;
        let mut ready = json!({ "type": "ready", "protocol": 1, "image": true, "mask": true });
        let about = serde_json::to_value(&studio.about).unwrap_or_default();
        for (name, value) in about.as_object().into_iter().flatten() {
            ready[name] = value.clone();
        }
        if let Ok(own) = studio.settled(&studio.complete(studio.request()), true) {
            ready["defaults"] = json!({
                "steps": own.steps, "eta": own.eta, "guidance": own.guidance, "scheduler": own.scheduler,
            });
        }
        ready["limits"] = json!({
            "pixels": limits.pixels, "batch": 1, "steps": limits.steps,
            "message_bytes": limits.body, "seconds": limits.time.as_secs_f64(),
        });
        ready
    }

    async fn hear(&mut self, message: Message) -> Result<(), Gone> {
        self.heard = Instant::now();
        if matches!(message, Message::Ping(_) | Message::Pong(_)) {
            return Ok(());
        }
        if matches!(message, Message::Close(_)) {
            return Err(Gone);
        }
        let server = self.server.clone();
        // Decoding pictures takes a while.
        let heard = tokio::task::spawn_blocking(move || understand(&server, &message)).await;
        match heard.unwrap_or_else(|_| Heard::Wrong(None, Refusal::internal())) {
            Heard::Draw(ready) => self.ask(*ready).await,
            Heard::Cancel => {
                // The one that is drawn says itself that it was stopped.
                self.watch.stop();
                let events = self.watch.events.clone();
                self.watch = Watch::new(events);
                for job in self.server.queue.withdraw(&self.user) {
                    job.skip(Skipped::Cancelled);
                }
                Ok(())
            }
            Heard::Unknown => Ok(()),
            Heard::Wrong(id, refusal) => {
                self.say(&json!({ "type": "error", "id": id, "error": refusal.error() })).await?;
                self.say(&json!({ "type": "next" })).await
            }
        }
    }

    async fn ask(&mut self, ready: Ready) -> Result<(), Gone> {
        self.count += 1;
        let Ready { id, encoding, text, .. } = ready;
        self.asked.push(Asked { number: self.count, id, seed: ready.checked.request.seed, encoding, text });
        let job = Job {
            id: self.count,
            request: ready.checked.request,
            lora: ready.checked.lora,
            preview: ready.preview,
            similar: ready.similar,
            page: Some(Arc::downgrade(&self.alive)),
            asked: Instant::now(),
            watch: self.watch.clone(),
        };
        for older in self.server.queue.replace(&self.user, job) {
            older.skip(Skipped::Superseded);
        }
        Ok(())
    }

    /// Hands on what came of a request.
    async fn answer(&mut self, Event { id: number, what }: Event) -> Result<(), Gone> {
        let Some(at) = self.asked.iter().position(|asked| asked.number == number) else { return Ok(()) };
        let Asked { id, encoding, .. } = self.asked[at];
        let end = match what {
            What::Step { step, steps, preview } => {
                let Some(image) = preview else { return Ok(()) };
                self.watch.took_preview();
                let header = json!({ "type": "preview", "id": id, "step": step, "steps": steps });
                return self.show(header, image, encoding, Vec::new(), Duration::ZERO).await;
            }
            What::Done(end) => end,
        };
        let asked = self.asked.remove(at);
        match end {
            Ok(Done::Picture(picture)) => self.picture(asked, *picture).await?,
            Ok(Done::Skipped(why)) => {
                self.say(&json!({ "type": "skipped", "id": id, "reason": why.to_string() })).await?;
                if why == Skipped::Superseded {
                    return Ok(()); // the newer one's answer asks for the next
                }
            }
            Err(refusal) => {
                self.say(&json!({ "type": "error", "id": id, "error": refusal.error() })).await?;
            }
        }
        self.say(&json!({ "type": "next" })).await
    }

    async fn picture(&mut self, asked: Asked, picture: LivePicture) -> Result<(), Gone> {
        let mut total = Duration::ZERO;
        let mut header = json!({ "type": "picture", "id": asked.id, "seed": asked.seed });
        for (part, seconds) in times(&picture) {
            header["times"][part] = json!(milliseconds(seconds));
            total += Duration::from_secs_f64(seconds);
        }
        let reused = picture.reused;
        let parts = [
            ("prompt", reused.prompt),
            ("noise", reused.noise),
            ("image", reused.start),
            ("control", reused.controls),
        ];
        header["reused"] = parts.iter().filter(|(_, reused)| *reused).map(|(name, _)| *name).collect();
        let Some(image) = picture.images.into_iter().next() else { return Ok(()) };
        self.show(header, image, asked.encoding, asked.text, total).await
    }

    /// Sends a picture; where its header has times, also that of encoding it.
    async fn show(
        &mut self,
        mut header: Value,
        image: Image,
        encoding: Encoding,
        text: Vec<TextChunk>,
        before: Duration,
    ) -> Result<(), Gone> {
        let began = Instant::now();
        header["width"] = json!(image.width());
        header["height"] = json!(image.height());
        let (name, bytes) = match encoding {
            Encoding::Rgba => ("rgba", rgba(&image)),
            Encoding::Png => {
                let encoding = tokio::task::spawn_blocking(move || image.encode(&text));
                let png = encoding.await.ok().and_then(Result::ok).ok_or(Gone)?;
                ("png", png)
            }
        };
        header["encoding"] = json!(name);
        if let Some(times) = header.get_mut("times") {
            times["encode"] = json!(milliseconds(began.elapsed().as_secs_f64()));
            times["total"] = json!(milliseconds((before + began.elapsed()).as_secs_f64()));
        }
        self.send(Message::Binary(frame::message(header, &bytes).into())).await
    }

    async fn say(&mut self, what: &Value) -> Result<(), Gone> {
        self.send(Message::Text(what.to_string().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(SLOW, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// Waits until the server goes down.
async fn is_true(going: &mut watch::Receiver<bool>) {
    let told = going.wait_for(|going| *going).await.is_ok();
    if !told {
        std::future::pending::<()>().await; // nobody is left to tell
    }
}

/// What a message says.
fn understand(server: &Server, message: &Message) -> Heard {
    let frame = match message {
        Message::Text(text) => Ok(Frame { header: text.as_bytes(), parts: Vec::new() }),
        Message::Binary(bytes) => Frame::parse(bytes),
        _ => return Heard::Unknown,
    };
    let said = frame.and_then(|frame| match serde_json::from_slice::<Said>(frame.header) {
        Ok(said) => Ok((frame, said)),
        Err(error) => Err(error.to_string()),
    });
    let (frame, said) = match said {
        Ok(understood) => understood,
        Err(error) => return Heard::Wrong(None, Refusal::invalid(error)),
    };
    match said.kind.as_str() {
        "draw" => {
            let id = said.id;
            said.ready(server, &frame).map_or_else(|refusal| Heard::Wrong(Some(id), refusal), Heard::Draw)
        }
        "cancel" => Heard::Cancel,
        _ => Heard::Unknown,
    }
}

impl Said {
    fn ready(self, server: &Server, frame: &Frame<'_>) -> Result<Box<Ready>, Refusal> {
        let checked = self.draw.check(&server.studio, &server.limits, &frame.parts)?;
        let text = match self.encoding {
            Encoding::Png => server.studio.text(&checked.request, checked.lora)?,
            Encoding::Rgba => Vec::new(),
        };
        let Self { id, preview, similar, encoding, .. } = self;
        Ok(Box::new(Ready { id, preview, similar, encoding, text, checked }))
    }
}

fn rgba(image: &Image) -> Vec<u8> {
    image.rgb8().chunks_exact(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect()
}

/// To a hundredth.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e5).round() / 100.0
}
