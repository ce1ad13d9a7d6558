//! Who is drawn for next: whoever has had the least of the device's time.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996): each user has a clock of the time that was drawn for them, and the one
//! that is furthest behind comes next. Who was away does not save up time: on coming back, their clock is that of the last
//! who was drawn for.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What waits for one device.
#[derive(Debug)]
pub(crate) struct Queue<U, J> {
    state: Mutex<State<U, J>>,
    came: Condvar,
    /// The most that wait, of those that are [pushed](Self::push).
    most: usize,
}

#[derive(Debug)]
struct State<U, J> {
    users: HashMap<U, User<J>>,
    /// The clock of the last who was drawn for.
    now: Duration,
    /// Counts arrivals: among equals the first comes first.
    arrivals: u64,
    closed: bool,
}

#[derive(Debug)]
struct User<J> {
    jobs: VecDeque<J>,
    /// Of the device's time.
    clock: Duration,
    arrived: u64,
}

impl<U: Clone + Eq + Hash, J> Queue<U, J> {
    pub(crate) fn new(most: usize) -> Self {
        let state = State { users: HashMap::new(), now: Duration::ZERO, arrivals: 0, closed: false };
        Self { state: Mutex::new(state), came: Condvar::new(), most }
    }

    /// Queues a job behind the user's others. It comes back where too many wait, with their number.
    pub(crate) fn push(&self, user: &U, job: J) -> Result<(), (J, usize)> {
        let mut state = self.state();
        let waiting = state.waiting();
        if waiting >= self.most || state.closed {
            return Err((job, waiting));
        }
        state.user(user).jobs.push_back(job);
        self.came.notify_one();
        Ok(())
    }

    /// Queues a job in the place of the user's others, which come back.
    pub(crate) fn replace(&self, user: &U, job: J) -> Vec<J> {
        let mut state = self.state();
        if state.closed {
            return vec![job];
        }
        let jobs = &mut state.user(user).jobs;
        let older = std::mem::take(jobs);
        jobs.push_back(job);
        self.came.notify_one();
        older.into()
    }

    /// The user's jobs that were not begun.
    pub(crate) fn withdraw(&self, user: &U) -> Vec<J> {
        let mut state = self.state();
        let jobs = state.users.get_mut(user).map(|user| std::mem::take(&mut user.jobs));
        state.forget();
        jobs.unwrap_or_default().into()
    }

    /// The next job, as soon as there is one; `None` when the queue was closed.
    pub(crate) fn next(&self) -> Option<(U, J)> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(next) = state.take() {
                return Some(next);
            }
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says how long a job of a user took.
    pub(crate) fn done(&self, user: &U, time: Duration) {
        let mut state = self.state();
        let (now, arrived) = (state.now, state.arrivals);
        let name = user.clone();
        let user =
            state.users.entry(name).or_insert_with(|| User { jobs: VecDeque::new(), clock: now, arrived });
        user.clock += time;
        state.forget();
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting()
    }

    /// Ends [`next`](Self::next); what waited comes back.
    pub(crate) fn close(&self) -> Vec<J> {
        let mut state = self.state();
        state.closed = true;
        self.came.notify_all();
        state.users.drain().flat_map(|(_, user)| user.jobs).collect()
    }

    fn state(&self) -> MutexGuard<'_, State<U, J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<U: Clone + Eq + Hash, J> State<U, J> {
    fn waiting(&self) -> usize {
        self.users.values().map(|user| user.jobs.len()).sum()
    }

    /// The user, who comes now if nothing of theirs waits.
    fn user(&mut self, user: &U) -> &mut User<J> {
        self.arrivals += 1;
        let (now, arrived) = (self.now, self.arrivals);
        let user = self.users.entry(user.clone()).or_insert_with(|| User {
            jobs: VecDeque::new(),
            clock: now,
            arrived,
        });
        if user.jobs.is_empty() {
            user.clock = user.clock.max(now);
            user.arrived = arrived;
        }
        user
    }

    fn take(&mut self) -> Option<(U, J)> {
        let waiting = self.users.iter_mut().filter(|(_, user)| !user.jobs.is_empty());
        let (name, user) = waiting.min_by_key(|(_, user)| (user.clock, user.arrived))?;
        self.now = user.clock;
        let job = user.jobs.pop_front()?;
        Some((name.clone(), job))
    }

    /// Forgets users of whom nothing waits and who would come back as new.
    fn forget(&mut self) {
        let now = self.now;
        self.users.retain(|_, user| !user.jobs.is_empty() || user.clock > now);
    }
}
