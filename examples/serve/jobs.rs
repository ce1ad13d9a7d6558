//! Pictures that are asked for now and fetched later, with progress by server-sent events.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
    http::{StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    body::Body,
    draw::{Checked, Draw},
    job::User,
    openai::blocking,
    refusal::Refusal,
    seeds::random,
    server::{Server, user},
};

/// How long a picture can be fetched, and how many are kept at the most, of everybody.
const KEPT: Duration = Duration::from_secs(600);
const MOST: usize = 256;

/// The jobs of the last minutes.
#[derive(Default)]
pub(crate) struct Jobs(Mutex<Table>);

#[derive(Default)]
struct Table {
    jobs: HashMap<String, Arc<Kept>>,
    /// The oldest first.
    order: VecDeque<(Instant, String)>,
}

/// A job.
struct Kept {
    status: watch::Sender<Status>,
    drawing: Mutex<Option<AbortHandle>>,
}

/// How far it is.
#[derive(Clone)]
pub(crate) enum Status {
    Waiting,
    Drawing { step: usize, steps: usize },
    Done(Arc<Vec<u8>>),
    Failed(Refusal),
}

impl Status {
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }

    /// Its name, and what there is to say.
    pub(crate) fn to_json(&self, id: &str) -> (&'static str, Value) {
        let (status, more) = match self {
            Self::Waiting => ("waiting", json!({})),
            Self::Drawing { step, steps } => ("drawing", json!({ "step": step, "steps": steps })),
            Self::Done(_) => ("done", json!({ "picture": format!("/v1/jobs/{id}/picture") })),
            Self::Failed(refusal) => ("failed", json!({ "error": refusal.error() })),
        };
        let mut value = more;
        value["id"] = json!(id);
        value["status"] = json!(status);
        (status, value)
    }
}

impl Jobs {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: &str) -> Result<Arc<Kept>, Refusal> {
        let kept = self.table().jobs.get(id).cloned();
        kept.ok_or_else(|| Refusal::not_found("no such job, or it was done long ago"))
    }

    /// Keeps a job, and forgets the oldest ones that are over.
    fn keep(&self, id: String, job: Arc<Kept>) -> Result<(), Refusal> {
        let mut table = self.table();
        let Table { jobs, order } = &mut *table;
        while let Some((began, oldest)) = order.front() {
            let over = jobs.get(oldest).is_none_or(|job| job.status.borrow().is_final());
            if !over || (began.elapsed() < KEPT && order.len() < MOST) {
                break;
            }
            jobs.remove(oldest);
            order.pop_front();
        }
        if order.len() >= MOST {
            return Err(Refusal::busy(10));
        }
        order.push_back((Instant::now(), id.clone()));
        jobs.insert(id, job);
        Ok(())
    }
}

/// `POST /v1/jobs`
pub(crate) async fn create(
    State(server): State<Arc<Server>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Body(draw): Body<Draw>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let checking = server.clone();
    let checked = blocking(move || draw.check(&checking.studio, &checking.limits, &[])).await?;
    // Of 128 bits: who has not been told it does not guess it.
    let id = format!("{:016x}{:016x}", random(), random());
    let kept = Arc::new(Kept { status: watch::Sender::new(Status::Waiting), drawing: Mutex::default() });
    server.jobs.keep(id.clone(), kept.clone())?;
    let task = tokio::spawn(run(server, user(address), kept.clone(), checked));
    *kept.drawing.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
    let (_, status) = Status::Waiting.to_json(&id);
    Ok((StatusCode::ACCEPTED, Json(status)))
}

async fn run(server: Arc<Server>, user: User, kept: Arc<Kept>, checked: Checked) {
    let step = |step, steps, _| {
        kept.status.send_replace(Status::Drawing { step, steps });
    };
    let png = match server.draw(&user, &checked, false, step).await {
        Ok(picture) => server.png(picture, &checked).await,
        Err(refusal) => Err(refusal),
    };
    kept.status.send_replace(match png {
        Ok(png) => Status::Done(Arc::new(png)),
        Err(refusal) => Status::Failed(refusal),
    });
}

/// `GET /v1/jobs/{id}`
pub(crate) async fn status(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let status = server.jobs.get(&id)?.status.borrow().clone();
    Ok(Json(status.to_json(&id).1))
}

/// `GET /v1/jobs/{id}/events`: how far it is, each time that it is further, to the end.
pub(crate) async fn events(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let mut status = server.jobs.get(&id)?.status.subscribe();
    status.mark_changed(); // what it is now is the first event
    let events = stream::unfold(Some((id, status)), |state| async move {
        let (id, mut status) = state?;
        status.changed().await.ok()?;
        let now = status.borrow_and_update().clone();
        let (name, value) = now.to_json(&id);
        let event = sse::Event::default().event(name).data(value.to_string());
        Some((Ok(event), (!now.is_final()).then_some((id, status))))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// `GET /v1/jobs/{id}/picture`
pub(crate) async fn picture(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let status = server.jobs.get(&id)?.status.borrow().clone();
    match status {
        Status::Done(png) => Ok(([(header::CONTENT_TYPE, "image/png")], png.to_vec()).into_response()),
        Status::Failed(refusal) => Err(refusal),
        _ => Err(Refusal::not_found("the picture is not drawn yet")),
    }
}

/// `DELETE /v1/jobs/{id}`
pub(crate) async fn cancel(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let kept = server.jobs.get(&id)?;
    if let Some(drawing) = kept.drawing.lock().unwrap_or_else(PoisonError::into_inner).take() {
        drawing.abort();
    }
    kept.status.send_if_modified(|status| {
        let stops = !status.is_final();
        if stops {
            *status = Status::Failed(Refusal::cancelled());
        }
        stops
    });
    let status = kept.status.borrow().clone();
    Ok(Json(status.to_json(&id).1))
}
