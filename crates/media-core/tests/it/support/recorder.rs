//! A journal that remembers.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use media_core::{AttemptKey, Error, ErrorKind, Event, Journal, Result};

/// A journal that takes a while to be durable, and remembers.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    events: Mutex<Vec<(AttemptKey, Event)>>,
    /// Refuses to record events of this name.
    pub(crate) refuses: Mutex<Option<&'static str>>,
    /// Whether this file stood when an event came, event by event.
    pub(crate) watched: Mutex<PathBuf>,
    stood: Mutex<Vec<bool>>,
}

impl Recorder {
    pub(crate) fn events(&self) -> Vec<(AttemptKey, Event)> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.events().iter().map(|(_, event)| name_of(event)).collect()
    }

    pub(crate) fn stood(&self) -> Vec<bool> {
        self.stood.lock().unwrap().clone()
    }

    /// How often this key was written down as about to be sent.
    pub(crate) fn intents(&self, key: &str) -> usize {
        let is =
            |(other, event): &(AttemptKey, Event)| other.to_string() == key && name_of(event) == "sending";
        self.events().iter().filter(|entry| is(entry)).count()
    }

    fn push(&self, key: AttemptKey, event: Event) {
        self.stood
            .lock()
            .unwrap()
            .push(self.watched.lock().unwrap().exists());
        self.events.lock().unwrap().push((key, event));
    }
}

pub(crate) fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Sending { .. } => "sending",
        Event::Found { .. } => "found",
        Event::Refused => "refused",
        Event::Linked { .. } => "linked",
        Event::Have { .. } => "have",
        Event::InBatch { .. } => "in batch",
        Event::Done => "done",
    }
}

#[async_trait]
impl Journal for Recorder {
    async fn record(&self, events: &[(AttemptKey, Event)]) -> Result<()> {
        // What is on the wire meanwhile was not written down first. HAVE comes from a blocking thread, and as long
        // as one is at work paused time stands still.
        if !events.iter().any(|(_, event)| name_of(event) == "have") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let refuses = *self.refuses.lock().unwrap();
        if events.iter().any(|(_, event)| Some(name_of(event)) == refuses) {
            return Err(Error::new(ErrorKind::Storage, "the disk is full"));
        }
        for (key, event) in events {
            self.push(*key, event.clone());
        }
        Ok(())
    }

    fn note(&self, key: AttemptKey, event: Event) {
        self.push(key, event);
    }
}
