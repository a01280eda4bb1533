//! OpenAI's rate limits: buckets per key and model group, and the headers that tell about them.

use super::auth::Key;
use super::error::ApiError;
use super::{Call, lock};
use crate::answer::Answer;
use crate::bucket::{Bucket, Level, go_duration};

/// The buckets of one key for one group of models.
#[derive(Debug)]
pub(crate) struct Lane {
    requests: Bucket,
    images: Option<Bucket>,
    tokens: Bucket,
}

/// What a request wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub(crate) images: Option<u64>,
    pub(crate) tokens: u64,
}

/// What the buckets hold after a request was let through or refused.
#[derive(Debug, Clone)]
pub(crate) struct Levels(Vec<(String, Level)>);

impl Levels {
    fn headers(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.iter().flat_map(|(name, level)| {
            [
                (format!("x-ratelimit-limit-{name}"), level.limit.to_string()),
                (
                    format!("x-ratelimit-remaining-{name}"),
                    level.remaining.to_string(),
                ),
                (format!("x-ratelimit-reset-{name}"), go_duration(level.reset_ms)),
            ]
        })
    }

    /// Adds the headers to an answer.
    pub(crate) fn tell(&self, mut answer: Answer) -> Answer {
        for (name, value) in self.headers() {
            if let Ok(name) = http::HeaderName::try_from(name) {
                answer.set(name, &value);
            }
        }
        answer
    }
}

/// Takes what a request wants from its buckets, or says when to come again.
pub(crate) fn admit(call: &Call<'_>, key: &Key<'_>, model: &str, want: Want) -> Result<Levels, Answer> {
    let now = call.shared.clock.now_ms();
    // All image models share one pool, "for limit gpt-image"; speech models have their own each.
    let group = if want.images.is_some() { "gpt-image" } else { model };
    let image_bucket = call.shared.scenario.openai.image_bucket.as_str();
    let mut lanes = lock(&call.shared.openai.lanes);
    let lane = lanes
        .entry((key.index, group.to_owned()))
        .or_insert_with(|| match want.images {
            Some(_) => Lane {
                requests: Bucket::full(key.limits.image.requests_per_minute, now),
                images: Some(Bucket::full(key.limits.image.images_per_minute, now)),
                tokens: Bucket::full(key.limits.image.tokens_per_minute, now),
            },
            None => Lane {
                requests: Bucket::full(key.limits.speech.requests_per_minute, now),
                images: None,
                tokens: Bucket::full(key.limits.speech.tokens_per_minute, now),
            },
        });
    let mut wants = vec![("requests", 1, &mut lane.requests)];
    if let (Some(count), Some(bucket)) = (want.images, lane.images.as_mut()) {
        wants.push((image_bucket, count, bucket));
    }
    wants.push(("tokens", want.tokens, &mut lane.tokens));

    let mut refused = None;
    for (name, amount, bucket) in &mut wants {
        let wait = bucket.wait_ms(*amount, now);
        if wait != Some(0) {
            refused = Some((*name, *amount, wait, bucket.show(now)));
            break;
        }
    }
    // A refused request counts as a request, when the bucket of requests is not what refused it.
    for (name, amount, bucket) in &mut wants {
        match refused {
            None => bucket.take(*amount, now),
            Some((by, ..)) if *name == "requests" && by != "requests" => bucket.take(1, now),
            Some(_) => {}
        }
    }
    let levels = Levels(
        wants
            .iter_mut()
            .map(|(name, _, bucket)| ((*name).to_owned(), bucket.show(now)))
            .collect(),
    );
    match refused {
        None => Ok(levels),
        Some((name, amount, wait, level)) => {
            Err(levels.tell(refusal(model, group, name, amount, wait, level).into_answer()))
        }
    }
}

fn refusal(model: &str, group: &str, name: &str, amount: u64, wait: Option<u64>, level: Level) -> ApiError {
    let limit = level.limit;
    let kind = match name {
        "requests" => "requests",
        "tokens" => "tokens",
        _ => "rate_limit_error",
    };
    let Some(wait) = wait else {
        let message = format!(
            "Request too large for {model} (for limit {group}) in organization org-sim on {name} per min: Limit \
             {limit}, Requested {amount}."
        );
        return ApiError::new(429, kind, message).code("rate_limit_exceeded");
    };
    let message = format!(
        "Rate limit reached for {model} (for limit {group}) in organization org-sim on {name} per min: Limit {limit}, \
         Used {}, Requested {amount}. Please try again in {}.",
        limit - level.remaining,
        go_duration(wait)
    );
    ApiError::new(429, kind, message)
        .code("rate_limit_exceeded")
        .header("retry-after", wait.div_ceil(1000).to_string())
        .header("retry-after-ms", wait.to_string())
}

/// 429 `slow_down`: more requests at a time than the scenario allows.
pub(crate) fn slow_down() -> ApiError {
    ApiError::new(
        429,
        "rate_limit_error",
        "Requests are arriving too quickly. Please slow down.",
    )
    .code("slow_down")
    .header("retry-after", "1".to_owned())
}
