//! The provider: asks, reads the answer, and leaves everything else to core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::civil::Date;
use media_core::http::{Auth, Http, HttpOptions, Request, Resend, Wiring};
use media_core::{
    ApiKey, Capabilities, Connection, Error, ErrorKind, Facts, Generated, Job, Media, MediaKind,
    MediaProvider, MediaRequest, ProviderInfo, Resolved, Result, Span, undated,
};
use url::Url;

use crate::batch::Batches;
use crate::config::{Authorization, Delivery, OpenAiConfig};
use crate::error::{OpenAiJudge, proves_the_key};
use crate::wire::{Images, Models};
use crate::{check, map};

/// One OpenAI account, or one compatible server.
#[derive(Debug)]
pub struct OpenAi {
    info: ProviderInfo,
    config: OpenAiConfig,
    http: Http,
    /// Where they are configured, whether they are used now or not.
    batches: Option<Batches>,
}

impl OpenAi {
    /// An account with this key, over the shipped transport. Reads no environment.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a configuration that cannot work.
    #[cfg(feature = "http")]
    pub fn new(config: OpenAiConfig, key: ApiKey) -> Result<OpenAi> {
        let wiring = Wiring::new(config.timeouts.connect.0)?;
        OpenAi::with_wiring(crate::NAME, config, Some(key), wiring)
    }

    /// An instance called `name` with its surroundings given.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a configuration that cannot work.
    pub fn with_wiring(
        name: &str,
        config: OpenAiConfig,
        key: Option<ApiKey>,
        wiring: Wiring,
    ) -> Result<OpenAi> {
        config.validate()?;
        let mut formats = BTreeMap::new();
        if let Some(image) = &config.image {
            formats.insert(MediaKind::Image, image.formats.clone());
        }
        if let Some(speech) = &config.speech {
            formats.insert(MediaKind::Audio, speech.formats.clone());
        }
        let info = ProviderInfo {
            name: name.to_owned(),
            provider: crate::NAME.to_owned(),
            formats,
            capabilities: Capabilities {
                batch_supported: config.in_batches().is_some(),
                max_batch: config.in_batches().map_or(1, |batch| batch.images_per_file.get()),
                // Nothing on the wire of a direct call names an attempt, so a lost answer cannot be asked for. What was
                // sent in a batch can.
                recoverable: false,
                resend_seconds: None,
                free: config.free,
                candidates: false,
                remote_batch_seconds: config
                    .in_batches()
                    .map(|batch| batch.completion_window.0.as_secs()),
            },
        };
        let http = Http::new(HttpOptions {
            name: name.to_owned(),
            base_url: base_url(&config),
            key,
            auth: match config.auth {
                Authorization::Bearer => Auth::Bearer,
                Authorization::ApiKey => Auth::Header(HeaderName::from_static("api-key")),
            },
            headers: headers(name, &config)?,
            settings: config.settings(),
            judge: Arc::new(OpenAiJudge),
            wiring,
        });
        Ok(OpenAi {
            batches: Batches::of(&config, &http),
            info,
            config,
            http,
        })
    }

    /// A request that is billed unless this is a server of one's own. A re-sent POST is a new billed generation: the
    /// API takes no idempotency key.
    fn buying<'a>(&self, op: &'static str, path: &[&str], job: &'a Job) -> Request<'a> {
        let url = self.http.url(path);
        let request = if self.config.free {
            Request::free(op, url).serving(&[job])
        } else {
            Request::paid(op, url, &[job], Resend::Never)
        };
        request
            .in_group(&job.resolved().group, &job.resolved().units)
            .counted()
    }

    async fn draw(&self, job: &Job) -> Result<Generated> {
        let image = self.config.image.as_ref().ok_or_else(not_configured)?;
        let body = map::image_body(image, job.resolved());
        let request = self
            .buying("image generation", &["images", "generations"], job)
            .with_json(&body)?;
        let fields = &["b64_json", "url"];
        let (answer, media) = match image.delivery {
            Delivery::Direct | Delivery::Batch => self.http.json_media::<Images>(request, fields).await?,
            Delivery::Stream => {
                let last = "image_generation.completed";
                self.http.event_media(request, fields, last).await?
            }
        };
        map::picture(answer, media, job.request_id())
    }

    async fn speak(&self, job: &Job) -> Result<Generated> {
        let body = map::speech_body(job.resolved())?;
        let request = self
            .buying("speech", &["audio", "speech"], job)
            .with_json(&body)?;
        let staged = self.http.media(request).await?;
        let facts = Facts {
            remote_id: job.request_id(),
            ..Facts::default()
        };
        Ok(Generated {
            media: Media::Staged(staged),
            facts,
        })
    }

    /// The models that this instance is configured to use.
    fn models(&self) -> impl Iterator<Item = &str> {
        let image = self.config.image.iter().map(|image| image.model.as_str());
        image.chain(self.config.speech.iter().map(|speech| speech.model.as_str()))
    }

    /// What is known about the end of a model: from the service, or else from the configuration.
    fn shutdown_warning(&self, model: &str, told: Option<&str>) -> Option<String> {
        let days = &self.config.prices.shut_down;
        let configured = days
            .get(model)
            .or_else(|| days.get(undated(model)?))
            .map(String::as_str);
        let day = told.or(configured)?;
        let date: Date = day.parse().ok()?;
        let today = self
            .http
            .wiring()
            .clock
            .now()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date();
        let left = today.until(date).ok()?.get_days();
        if left < 0 {
            Some(format!(
                "the model {model} was shut down on {day}: name another in the configuration"
            ))
        } else if self
            .config
            .shutdown_notice
            .is_some_and(|notice| left <= days_of(notice))
        {
            Some(format!(
                "the model {model} will be shut down on {day}, in {left} days"
            ))
        } else {
            None
        }
    }
}

fn days_of(span: Span) -> i32 {
    i32::try_from(span.0.as_secs() / (24 * 60 * 60)).unwrap_or(i32::MAX)
}

/// A bare host gets the usual `/v1`, and every address below it what the configuration adds to all.
fn base_url(config: &OpenAiConfig) -> Url {
    let mut url = config.base_url.clone();
    if matches!(url.path(), "" | "/") {
        url.set_path("/v1");
    }
    if !config.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&config.query);
    }
    url
}

fn headers(name: &str, config: &OpenAiConfig) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let given = [
        ("openai-organization", &config.organization),
        ("openai-project", &config.project),
    ];
    for (header, value) in given {
        if let Some(value) = value {
            let value = HeaderValue::try_from(value).map_err(|_| {
                Error::config(format!(
                    "{name}: the value for {header} holds characters that no header can"
                ))
            })?;
            headers.insert(HeaderName::from_static(header), value);
        }
    }
    Ok(headers)
}

fn not_configured() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this instance is not configured for pictures",
    )
    .not_billed()
}

#[async_trait]
impl MediaProvider for OpenAi {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn http(&self) -> &Http {
        &self.http
    }

    fn check(&self, request: &MediaRequest) -> Result<Resolved> {
        let resolved = check::resolve(&self.info.name, &self.config, request)?;
        if let (MediaKind::Image, Some(batch)) = (request.kind, self.config.in_batches())
            && !batch.takes(&resolved.model)
        {
            let message = format!(
                "the model {} is not known to take batches: make it without them, or name it in batch.models of {}.json",
                resolved.model, self.info.name
            );
            return Err(Error::new(ErrorKind::Unsupported, message).not_billed());
        }
        Ok(resolved)
    }

    async fn generate(&self, job: &Job) -> Result<Generated> {
        match job.request().kind {
            MediaKind::Image => self.draw(job).await,
            MediaKind::Audio => self.speak(job).await,
        }
    }

    /// Pictures go in files where that is configured; speech is never taken in batches.
    async fn generate_batch(&self, jobs: &[Job]) {
        let batches = self.config.in_batches().and(self.batches.as_ref());
        let is_picture = |job: &&Job| batches.is_some() && job.request().kind == MediaKind::Image;
        let (pictures, others): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(is_picture);
        let others = join_all(
            others
                .into_iter()
                .map(|job| async move { job.finish(self.generate(job).await) }),
        );
        let pictures = async {
            if let Some(batches) = batches {
                batches.generate(&pictures).await;
            }
        };
        tokio::join!(others, pictures);
    }

    /// What was sent in batches is found by their keys, whether batches are wanted now or not.
    async fn recover(&self, jobs: &[Job]) {
        if let Some(batches) = &self.batches {
            batches.recover(jobs).await;
        }
    }

    async fn cancel_batch(&self, key: &str) -> Result<String> {
        match &self.batches {
            Some(batches) => batches.cancel(key).await,
            None => {
                let message = format!("{} is not configured for batches", self.info.name);
                Err(Error::config(message))
            }
        }
    }

    async fn wait_for_batch(&self, key: &str, ago: Option<Duration>) {
        if let Some(batches) = &self.batches {
            batches.wait_for(key, ago).await;
        }
    }

    /// Lists the models: free, and proof of the key; not of image permission, verification or credit.
    async fn test_connection(&self) -> Result<Connection> {
        let mut connection = Connection::default();
        let models: Models = match self
            .http
            .json(Request::free("listing models", self.http.url(&["models"])))
            .await
        {
            Ok(models) => models,
            Err(error) if proves_the_key(&error) => {
                connection
                    .notes
                    .push("the key works, but may not list models".to_owned());
                Models { data: Vec::new() }
            }
            Err(error) => return Err(error),
        };
        if !models.data.is_empty() {
            connection.notes.push(format!("{} models", models.data.len()));
        }
        for model in self.models() {
            let listed = models.data.iter().find(|listed| listed.id == model);
            if let Some(warning) =
                self.shutdown_warning(model, listed.and_then(|l| l.shutdown_date.as_deref()))
            {
                connection.warnings.push(warning);
            } else if listed.is_none() && !models.data.is_empty() {
                connection.warnings.push(format!(
                    "the model {model} is not among those that the key can see"
                ));
            }
        }
        Ok(connection)
    }
}
