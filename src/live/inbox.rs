//! Requests from other threads.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{
    LiveEvent, Skipped,
    turns::{Studio, Turns},
};
use crate::Request;

/// Where requests are left for a [`Live`](super::Live) in another thread, from any thread and from async code: nothing here
/// waits. A clone is the same inbox. It holds one request, the latest.
///
/// ```no_run
/// # fn example(pipeline: &hypersd::Pipeline, words: std::sync::mpsc::Receiver<String>) {
/// use hypersd::{Inbox, LiveEvent, Request};
///
/// let inbox = Inbox::default();
/// std::thread::scope(|threads| {
///     threads.spawn(|| {
///         let mut live = pipeline.live();
///         for event in live.follow(&inbox) {
///             if let LiveEvent::Picture(picture) = event {
///                 println!("picture {} after {:?}", picture.id, picture.times.total());
///             }
///         }
///     });
///     for (id, prompt) in words.into_iter().enumerate() {
///         inbox.ask(id as u64, Request { prompt: prompt.into(), ..Request::default() });
///     }
///     inbox.close();
/// });
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Inbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    mail: Mutex<Mail>,
    came: Condvar,
}

/// What came since it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// To stop what came before.
    pub(super) cancel: bool,
    /// Requests that were never seen, and why.
    pub(super) skipped: Vec<(u64, Skipped)>,
    pub(super) latest: Option<(u64, Request)>,
    pub(super) closed: bool,
}

impl Inbox {
    /// As [`Live::ask`](super::Live::ask). After [`close`](Self::close) nothing comes of it.
    pub fn ask(&self, id: u64, request: Request) {
        let mut mail = self.mail();
        if mail.closed {
            return;
        }
        if let Some((older, _)) = mail.latest.replace((id, request)) {
            mail.skipped.push((older, Skipped::Superseded));
        }
        self.0.came.notify_one();
    }

    /// As [`Live::cancel`](super::Live::cancel).
    pub fn cancel(&self) {
        let mut mail = self.mail();
        mail.cancel = true;
        if let Some((id, _)) = mail.latest.take() {
            mail.skipped.push((id, Skipped::Cancelled));
        }
        self.0.came.notify_one();
    }

    /// Nothing more will come: whoever follows draws what is there, and ends.
    pub fn close(&self) {
        self.mail().closed = true;
        self.0.came.notify_one();
    }

    /// What came.
    pub(super) fn take(&self) -> Mail {
        Self::taken(&mut self.mail())
    }

    /// What came, as soon as anything has.
    pub(super) fn wait(&self) -> Mail {
        let came = self.0.came.wait_while(self.mail(), |mail| mail.is_empty());
        Self::taken(&mut came.unwrap_or_else(PoisonError::into_inner))
    }

    fn taken(mail: &mut Mail) -> Mail {
        let closed = mail.closed;
        mem::replace(mail, Mail { closed, ..Mail::default() })
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.0.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mail {
    fn is_empty(&self) -> bool {
        !self.cancel && !self.closed && self.skipped.is_empty() && self.latest.is_none()
    }
}

/// The events of an inbox.
pub(super) struct Following<'l, S: Studio> {
    turns: &'l mut Turns<S>,
    inbox: &'l Inbox,
}

impl<'l, S: Studio> Following<'l, S> {
    pub(super) fn new(turns: &'l mut Turns<S>, inbox: &'l Inbox) -> Self {
        Self { turns, inbox }
    }
}

impl<S: Studio> Iterator for Following<'_, S> {
    type Item = LiveEvent;

    fn next(&mut self) -> Option<LiveEvent> {
        loop {
            let mail = if self.turns.is_idle() { self.inbox.wait() } else { self.inbox.take() };
            if mail.cancel {
                self.turns.cancel();
            }
            for (id, why) in mail.skipped {
                self.turns.skip(id, why);
            }
            if let Some((id, request)) = mail.latest {
                self.turns.ask(id, request);
            }
            match self.turns.advance() {
                Some(LiveEvent::Part) => {}
                None if mail.closed => return None,
                None => {}
                event => return event,
            }
        }
    }
}
