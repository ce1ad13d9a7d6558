//! The two streams: what is wanted, which one worker takes and which is gone when it is done, and the answers, of which there is one for
//! each job.

use std::{error::Error, time::Duration};

use async_nats::{
    HeaderMap,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID},
    jetstream::{
        Context, Message,
        consumer::{AckPolicy, pull},
        stream::{self, RetentionPolicy, Stream},
    },
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long nothing may be heard of a worker before its job is given to another.
pub(crate) const PATIENCE: Duration = Duration::from_secs(6);
/// How long answers can be fetched.
const KEPT: Duration = Duration::from_secs(3600);

const WANTED: &str = "hypersd.wanted.";
const DRAWN: &str = "hypersd.drawn.";
const FAILED: &str = "hypersd.failed.";

/// The jobs, as they come to this worker.
pub(crate) async fn jobs(jetstream: &Context) -> Result<pull::Stream> {
    let stream = jetstream
        .get_or_create_stream(stream::Config {
            name: "HYPERSD_WANTED".into(),
            subjects: vec![format!("{WANTED}*")],
            retention: RetentionPolicy::WorkQueue,
            // A client that asks again, since it did not hear that it had asked, asks once.
            duplicate_window: Duration::from_secs(120),
            ..stream::Config::default()
        })
        .await?;
    let workers = pull::Config {
        durable_name: Some("workers".into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: PATIENCE,
        ..pull::Config::default()
    };
    let consumer = stream.get_or_create_consumer("workers", workers).await?;
    // None is taken that is not drawn at once: another worker may be free.
    Ok(consumer.stream().max_messages_per_batch(1).messages().await?)
}

/// The name of a job, which is the end of its subject.
pub(crate) fn id(job: &Message) -> Result<&str> {
    let id = job.subject.strip_prefix(WANTED).filter(|id| !id.is_empty());
    id.ok_or_else(|| format!("{}: expected {WANTED}ID", job.subject).into())
}

/// Where answers go.
pub(crate) struct Answers {
    jetstream: Context,
    stream: Stream,
}

pub(crate) async fn answers(jetstream: &Context) -> Result<Answers> {
    let stream = jetstream
        .get_or_create_stream(stream::Config {
            name: "HYPERSD_DRAWN".into(),
            subjects: vec![format!("{DRAWN}*"), format!("{FAILED}*")],
            max_age: KEPT,
            ..stream::Config::default()
        })
        .await?;
    Ok(Answers { jetstream: jetstream.clone(), stream })
}

impl Answers {
    /// True where a job is answered.
    pub(crate) async fn has(&self, id: &str) -> Result<bool> {
        for place in [DRAWN, FAILED] {
            match self.stream.get_last_raw_message_by_subject(&format!("{place}{id}")).await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == stream::LastRawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    pub(crate) async fn store_picture(&self, id: &str, png: Vec<u8>) -> Result<()> {
        self.store(&format!("{DRAWN}{id}"), id, png).await
    }

    pub(crate) async fn store_failure(&self, id: &str, why: &str) -> Result<()> {
        self.store(&format!("{FAILED}{id}"), id, why.to_owned().into_bytes()).await
    }

    /// Stores an answer if it is the first, and waits until it is.
    async fn store(&self, subject: &str, id: &str, answer: Vec<u8>) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, id);
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        let stored = self.jetstream.publish_with_headers(subject.to_owned(), headers, answer.into()).await?;
        match stored.await {
            Ok(_) => Ok(()),
            // Somebody was faster, or was taken for dead and was not.
            Err(_) if self.has(id).await? => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
