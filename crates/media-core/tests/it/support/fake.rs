//! The provider: a few ways to get media, and a judge who knows two error codes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use media_core::http::{Http, Judge, Payload, Reply, Request, Resend};
use media_core::limit::Units;
use media_core::{
    Connection, Error, ErrorKind, Facts, Generated, Job, Link, Media, MediaProvider, MediaRequest, ParamSpec,
    ParamType, Params, ProviderInfo, Resolved, Result,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Mode;

#[derive(Debug)]
pub(super) struct Words;

impl Judge for Words {
    fn judge(&self, reply: &Reply<'_>) -> Result<()> {
        let body = reply.json().unwrap_or_default();
        let said = |kind, what: &str| Err(Error::new(kind, what.to_owned()).in_op(reply.op).not_billed());
        match body["error"]["code"].as_str() {
            Some("quota") => said(ErrorKind::QuotaExhausted, "the calls of today are spent"),
            Some("says") => said(
                ErrorKind::InvalidRequest,
                body["error"]["message"].as_str().unwrap(),
            ),
            _ if reply.status.is_success() => Ok(()),
            _ => Err(reply.by_status()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Fake {
    pub(super) info: ProviderInfo,
    pub(super) http: Http,
    pub(super) mode: Mode,
    pub(super) resend: Resend,
    pub(super) units: Units,
    pub(super) calls: u32,
    pub(super) checks: Arc<AtomicUsize>,
}

#[derive(Deserialize)]
struct Answer {
    url: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Answers {
    tasks: Vec<Answer>,
}

#[derive(Deserialize)]
struct Submitted {
    id: String,
}

#[derive(Deserialize)]
struct Encoded {
    b64: Payload,
}

const PARAMS: &[ParamSpec] = &[ParamSpec::image("model", ParamType::Text, "which model draws")];
const GROUP: &str = "image";

fn generated(media: Media) -> Generated {
    Generated {
        media,
        facts: Facts::default(),
    }
}

impl Fake {
    fn buy<'a>(&self, path: &str, jobs: &[&'a Job]) -> Result<Request<'a>> {
        let tasks: Vec<Value> = jobs
            .iter()
            .map(|job| json!({"key": job.key().to_string(), "prompt": job.resolved().content}))
            .collect();
        let key = HeaderValue::try_from(jobs[0].key().to_string()).unwrap();
        Request::paid("generation", self.http.url(&[path]), jobs, self.resend)
            .in_group(GROUP, &self.units)
            .with_header(HeaderName::from_static("x-key"), key)
            .with_json(&tasks)
    }

    fn read(&self, answer: Answer) -> Result<Generated> {
        let counted = self.mode == Mode::Word;
        if let Some(url) = answer.url {
            let link = Link::new(url.parse().unwrap());
            return Ok(generated(Media::Link(if counted {
                link.counted_in(GROUP)
            } else {
                link
            })));
        }
        Err(match answer.error.as_deref() {
            Some("busy") => Error::new(ErrorKind::ProviderFault, "the task was not taken on")
                .retryable()
                .not_billed(),
            Some("credit") => Error::new(ErrorKind::InsufficientCredit, "no credit is left").not_billed(),
            other => {
                Error::new(ErrorKind::ContentRejected, other.unwrap_or("nothing").to_owned()).not_billed()
            }
        })
    }
}

#[async_trait]
impl MediaProvider for Fake {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn http(&self) -> &Http {
        &self.http
    }

    fn check(&self, request: &MediaRequest) -> Result<Resolved> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        assert!(
            request.content != "panic in check",
            "the provider was told to panic"
        );
        let params = Params::check("acme", request.kind, &request.params, PARAMS)?;
        Ok(Resolved {
            model: params.text("model").unwrap_or("m").to_owned(),
            content: request.content.clone(),
            language: None,
            params: BTreeMap::new(),
            format: media_core::format_of(&request.output_path)?,
            group: GROUP.into(),
            units: self.units.clone(),
            calls: self.calls,
            dimensions: None,
        })
    }

    async fn generate(&self, job: &Job) -> Result<Generated> {
        assert!(
            job.resolved().content != "panic",
            "the provider was told to panic"
        );
        match self.mode {
            Mode::Media => Ok(generated(Media::Staged(
                self.http.media(self.buy("make", &[job])?).await?,
            ))),
            Mode::Base64 => {
                let request = self.buy("make", &[job])?;
                let (answer, media): (Encoded, _) = self.http.json_media(request, &["b64"]).await?;
                assert_eq!(answer.b64, Payload::Staged(0));
                Ok(generated(Media::Staged(media.into_iter().next().unwrap())))
            }
            Mode::Link => self.read(self.http.json(self.buy("make", &[job])?).await?),
            Mode::Poll { serving, counted } => {
                let submitted: Submitted = self.http.json(self.buy("submit", &[job])?).await?;
                let mut poll = Request::free("poll", self.http.url(&["poll", &submitted.id]))
                    .in_group(GROUP, &Units::default().with("requests", 0));
                if serving {
                    poll = poll.serving(&[job]);
                }
                if counted {
                    poll = poll.counted();
                }
                self.read(self.http.json(poll).await?)
            }
            Mode::Word => {
                let url = self.http.url(&["word", &job.resolved().content]);
                let lookup = Request::free("lookup", url)
                    .in_group(GROUP, &self.units)
                    .serving(&[job])
                    .counted();
                self.read(self.http.json(lookup).await?)
            }
        }
    }

    async fn generate_batch(&self, jobs: &[Job]) {
        if !self.info.capabilities.batch_supported {
            for job in jobs.iter().filter(|job| job.resolved().content != "forget") {
                job.finish(self.generate(job).await);
            }
            return;
        }
        let all: Vec<&Job> = jobs.iter().collect();
        match self.http.json::<Answers>(self.buy("batch", &all).unwrap()).await {
            Ok(answers) => {
                for (job, answer) in jobs.iter().zip(answers.tasks) {
                    job.finish(self.read(answer));
                }
            }
            Err(error) => jobs.iter().for_each(|job| job.finish(Err(error.clone()))),
        }
    }

    async fn recover(&self, jobs: &[Job]) {
        for job in jobs {
            assert!(
                job.resolved().content != "panic in recovery",
                "the provider was told to panic"
            );
            let request =
                Request::free("recovery", self.http.url(&["find", &job.key().to_string()])).serving(&[job]);
            if let Ok(answer) = self.http.json(request).await {
                job.finish(self.read(answer));
            }
        }
    }

    async fn test_connection(&self) -> Result<Connection> {
        self.http
            .json::<Value>(Request::free("connection test", self.http.url(&["me"])))
            .await?;
        Ok(Connection::default())
    }
}
