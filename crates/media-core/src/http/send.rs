//! The loop over one send: pace, permit, journal, wire, and again where that cannot buy twice.

use std::future::Future;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;
use tracing::Instrument;

use super::exchange::{Expect, Received};
use super::{Http, Request, Resend};
use crate::error::{Charge, Error, ErrorKind, Result, Retry};
use crate::job::SendEnd;
use crate::journal::Event;
use crate::limit::Grant;

impl Http {
    /// The loop over one send: repeats it when it is free, proven not billed, or knows its key.
    pub(super) async fn send(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        let span = tracing::debug_span!(
            "send",
            provider = %self.0.options.name,
            op = request.op,
            jobs = request.jobs.len(),
            first = request.jobs.first().map(|job| tracing::field::display(&job.request().id)),
        );
        let sent = self.send_repeatedly(request, expect).instrument(span).await;
        sent.map_err(|error| self.keep_left(request, error))
    }

    async fn send_repeatedly(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        let retry = &self.settings().retry;
        let mut delays = retry.delays();
        let pacer = self.0.limiter.pacer(&request.group);
        let mut delays_of_pace = retry.delays_of_pace();
        // Another request has already waited this limit out for nothing: one try is enough to see whether it is over.
        let is_dry = pacer.is_dry();
        loop {
            let error = match self.once(request, expect).await {
                Ok(received) => {
                    pacer.succeeded();
                    return Ok(received);
                }
                Err(error) => error,
            };
            let may_repeat = match request.paid {
                None => true,
                Some(Resend::SameKey { .. }) => true,
                Some(Resend::Never) => error.charge() == Some(Charge::None) && !request.is_in_doubt(),
            };
            tracing::debug!(%error, charge = ?error.charge(), may_repeat, "send failed");
            let is_pace = error.kind() == ErrorKind::RateLimited && error.retry() == Retry::Later;
            let (delay, of_pace) = (delays.next(), delays_of_pace.next());
            let of_pace = of_pace.filter(|_| !is_dry);
            let delay = if is_pace { of_pace } else { delay }.map(|delay| match error.retry_after() {
                // The service's hint is a lower bound, and some are far too low; the jitter on top keeps waiters from
                // waking together.
                Some(hint) => hint.max(delay) + delay.min(hint / 10 + retry.first_delay.0 / 10),
                None => delay,
            });
            if is_pace {
                // Everybody waits, even when this request has no try left.
                let pause = delay.or(error.retry_after()).unwrap_or(retry.first_delay.0);
                pacer.pause(pause);
                if delay.is_none() {
                    pacer.waited_in_vain();
                }
            }
            if error.retry() != Retry::Later || !may_repeat {
                return Err(error);
            }
            let Some(delay) = delay else {
                return Err(error.with_retry(Retry::Spent));
            };
            if error.kind() != ErrorKind::RateLimited && self.patiently(request, sleep(delay)).await.is_none()
            {
                return Err(error);
            }
        }
    }

    /// Waits for something, unless a stop is asked for and the request has nothing at stake yet.
    async fn patiently<T>(&self, request: &Request<'_>, wait: impl Future<Output = T>) -> Option<T> {
        if request.must_be_finished() {
            Some(wait.await)
        } else {
            self.wiring().stop.or(wait).await
        }
    }

    /// One send, from the permit to the verdict. Holds the permit no longer than the call takes.
    async fn once(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        let result = self.once_charged(request, expect).await;
        if request.is_paid() {
            return result;
        }
        // A question about something that was bought says nothing about the purchase, however it fails.
        result.map_err(Error::without_charge)
    }

    async fn once_charged(&self, request: &Request<'_>, expect: Expect<'_>) -> Result<Received> {
        tracing::trace!(group = %request.group, "waiting for its turn");
        let (grant, _permit) = self
            .patiently(request, self.turn(request))
            .await
            .unwrap_or_else(|| {
                Err(Error::new(ErrorKind::Cancelled, "it was stopped before it was sent").not_billed())
            })?;
        // While it waited, somebody may have heard that there is no more money, or no more room for what it buys. A call of
        // the day's that is not made is there for a later run.
        if let Some(reason) = request.called_off() {
            return Err(reason);
        }
        // Checked here, after the last wait. The window runs from the key's first send, whichever request or process made it.
        if let Some(Resend::SameKey { window }) = request.paid
            && request
                .jobs
                .iter()
                .any(|job| job.is_at_stake() && job.sent_ago().is_none_or(|ago| ago >= window))
        {
            return Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "no answer within {}, after which the service may have forgotten the request",
                    humantime::format_duration(window)
                ),
            )
            .in_op(request.op));
        }
        if request.counted {
            let counted = self.0.limiter.count_call(&request.group, &request.holds).await;
            counted.map_err(Error::not_billed)?;
        }
        if request.is_paid() {
            self.intend(request).await?;
        }
        grant.spend();
        let day = self.0.limiter.day(&request.group);
        tracing::debug!(paid = request.is_paid(), "sending");
        let result = self
            .exchange(request, expect)
            .await
            .map_err(|error| self.scrub(error));
        let result = self.note_end(request, result);
        match result {
            Err(error) if error.kind() == ErrorKind::QuotaExhausted => {
                let until = match day {
                    Some(day) => self.0.limiter.mark_spent(&request.group, day).await,
                    None => None,
                };
                Err(if error.resets_at().is_none() {
                    error.until(until)
                } else {
                    error
                })
            }
            other => other,
        }
    }

    /// Waits for the pace, and then for a place among the calls in flight: a group that waits must not hold the places
    /// of another.
    async fn turn(&self, request: &Request<'_>) -> Result<(Grant, OwnedSemaphorePermit)> {
        let limiter = &self.0.limiter;
        let places = limiter.places(request.foreign && !self.is_ours(&request.url));
        let pacer = limiter.pacer(&request.group);
        let turn = pacer.wait_for(&request.units, places).await;
        turn.map_err(|error| error.in_op(request.op))
    }

    /// Writes down, durably, that the jobs may have been billed from here on. The last thing before the wire:
    /// written any earlier, a kill would make false doubts of everything that waits.
    async fn intend(&self, request: &Request<'_>) -> Result<()> {
        let events: Vec<_> = request
            .jobs
            .iter()
            .map(|job| {
                let attempt = job.attempt().clone();
                let batch = request.batch.clone();
                (job.key(), Event::Sending { attempt, batch })
            })
            .collect();
        self.journal().record(&events).await.map_err(Error::not_billed)?;
        for job in &request.jobs {
            job.sending();
        }
        Ok(())
    }

    /// Tells the jobs and the journal what the send came to.
    fn note_end(&self, request: &Request<'_>, result: Result<Received>) -> Result<Received> {
        if !request.is_paid() {
            return result;
        }
        let end = match &result {
            Ok(_) => SendEnd::Answered,
            Err(error) if error.charge() == Some(Charge::None) => SendEnd::Refused,
            Err(_) => SendEnd::Lost,
        };
        for job in &request.jobs {
            job.sent(end);
            if end == SendEnd::Refused && !job.is_in_doubt() {
                self.journal().note(job.key(), Event::Refused);
            }
        }
        result
    }
}
