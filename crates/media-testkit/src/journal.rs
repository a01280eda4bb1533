//! A journal that remembers what was about to be bought.

use std::sync::Mutex;

use async_trait::async_trait;
use media_core::{AttemptKey, Event, Journal, Result};

use media_core::sync::lock;

#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<Vec<(AttemptKey, Event)>>>);

impl Notes {
    fn push(&self, events: Vec<(AttemptKey, Event)>) {
        lock(&self.0).push(events);
    }

    pub(crate) fn all(&self) -> Vec<Vec<(AttemptKey, Event)>> {
        lock(&self.0).clone()
    }

    /// The keys of each purchase that was announced.
    pub(crate) fn purchases(&self) -> Vec<Vec<AttemptKey>> {
        let announced =
            |(key, event): &(AttemptKey, Event)| matches!(event, Event::Sending { .. }).then_some(*key);
        let keys = self
            .all()
            .into_iter()
            .map(|events| events.iter().filter_map(announced).collect::<Vec<_>>());
        keys.filter(|keys| !keys.is_empty()).collect()
    }
}

#[async_trait]
impl Journal for Notes {
    async fn record(&self, events: &[(AttemptKey, Event)]) -> Result<()> {
        // What does not wait for this is on the wire before it is written down. HAVE may come from a blocking thread,
        // and as long as one is at work paused time stands still.
        if !events
            .iter()
            .any(|(_, event)| matches!(event, Event::Have { .. }))
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self.push(events.to_vec());
        Ok(())
    }

    fn note(&self, key: AttemptKey, event: Event) {
        self.push(vec![(key, event)]);
    }
}
