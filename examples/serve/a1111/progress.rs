//! How far a user's drawings are, and how they are interrupted.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    Json,
    extract::{ConnectInfo, State},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    job::User,
    server::{Server, user},
};

/// What each user has drawn by this interface, the latest request of each.
#[derive(Default)]
pub(crate) struct Progress(Mutex<HashMap<User, Current>>);

struct Current {
    number: u64,
    began: Instant,
    pictures: usize,
    of_pictures: usize,
    step: usize,
    steps: usize,
    interrupt: watch::Sender<bool>,
}

/// A request in progress; it is forgotten when this is dropped.
pub(crate) struct Running<'a> {
    progress: &'a Progress,
    user: User,
    number: u64,
    interrupted: watch::Receiver<bool>,
}

impl Progress {
    /// Begins a request for so many pictures.
    pub(crate) fn begin(&self, user: &User, pictures: usize) -> Running<'_> {
        let (interrupt, interrupted) = watch::channel(false);
        let mut users = self.users();
        let number = users.get(user).map_or(0, |current| current.number + 1);
        let began = Instant::now();
        let current =
            Current { number, began, pictures: 0, of_pictures: pictures, step: 0, steps: 0, interrupt };
        users.insert(user.clone(), current);
        Running { progress: self, user: user.clone(), number, interrupted }
    }

    fn users(&self) -> MutexGuard<'_, HashMap<User, Current>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running<'_> {
    pub(crate) fn step(&self, step: usize, steps: usize) {
        self.change(|current| (current.step, current.steps) = (step, steps));
    }

    /// A picture is done.
    pub(crate) fn picture(&self) {
        self.change(|current| (current.pictures, current.step) = (current.pictures + 1, 0));
    }

    /// Waits until somebody interrupts it.
    pub(crate) async fn interrupted(&self) {
        let mut interrupted = self.interrupted.clone();
        if interrupted.wait_for(|interrupted| *interrupted).await.is_err() {
            std::future::pending::<()>().await; // a newer request has its place: nobody can
        }
    }

    fn change(&self, change: impl FnOnce(&mut Current)) {
        let mut users = self.progress.users();
        if let Some(current) = users.get_mut(&self.user).filter(|current| current.number == self.number) {
            change(current);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut users = self.progress.users();
        if users.get(&self.user).is_some_and(|current| current.number == self.number) {
            users.remove(&self.user);
        }
    }
}

/// `GET /sdapi/v1/progress`
pub(crate) async fn progress(
    State(server): State<Arc<Server>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
) -> Json<Value> {
    let users = server.progress.users();
    let current = users.get(&user(address));
    let share = current.map_or(0.0, |current| {
        let of_picture = current.step as f64 / current.steps.max(1) as f64;
        (current.pictures as f64 + of_picture) / current.of_pictures.max(1) as f64
    });
    let took = current.map_or(0.0, |current| current.began.elapsed().as_secs_f64());
    let left = if share > 0.0 { took / share - took } else { 0.0 };
    Json(json!({
        "progress": share, "eta_relative": left, "current_image": null, "textinfo": null,
        "state": {
            "skipped": false, "interrupted": false, "job": if current.is_some() { "drawing" } else { "" },
            "job_count": current.map_or(0, |current| current.of_pictures),
            "job_no": current.map_or(0, |current| current.pictures),
            "sampling_step": current.map_or(0, |current| current.step),
            "sampling_steps": current.map_or(0, |current| current.steps),
        },
    }))
}

/// `POST /sdapi/v1/interrupt`: ends the user's own request, which answers with the pictures that are done.
pub(crate) async fn interrupt(
    State(server): State<Arc<Server>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
) -> Json<Value> {
    if let Some(current) = server.progress.users().get(&user(address)) {
        current.interrupt.send_replace(true);
    }
    Json(json!({}))
}
