//! A provider with a flaw of choice.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use media_core::http::{Auth, Http, HttpOptions, Judge, Reply, Request, Resend, Wiring};
use media_core::limit::Units;
use media_core::{
    ApiKey, Capabilities, Connection, Error, ErrorKind, Facts, Format, Generated, Job, Link, Media,
    MediaKind, MediaProvider, MediaRequest, ParamSpec, ParamType, Params, ProviderInfo, Resolved, Result,
    ServiceSettings, format_of,
};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

pub(crate) const BASE: &str = "https://api.acme.test/v1";
pub(crate) const KEY: &str = "sk-test-0123456789";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    IgnoresParams,
    AcceptsAnything,
    DependsOnPath,
    BuysInSecret,
    PaysForQuestions,
    ShowsKey,
    SendsKeyAway,
    CallsItFree,
    BuysAgain,
    WrongFlags,
    MisreadsStatus,
    SkipsTheQuestion,
    TestBuys,
}

#[derive(Debug)]
pub(crate) struct Acme {
    info: ProviderInfo,
    http: Http,
    flaw: Flaw,
    #[expect(dead_code, reason = "shown by Debug, which is the flaw")]
    shown: String,
}

#[derive(Debug)]
struct ByStatus(Flaw);

impl Judge for ByStatus {
    fn judge(&self, reply: &Reply<'_>) -> Result<()> {
        if reply.status.is_success() {
            return Ok(());
        }
        let error = reply.by_status();
        if self.0 == Flaw::MisreadsStatus && reply.status == 401 {
            return Err(Error::new(ErrorKind::ProviderFault, error.message()).not_billed());
        }
        Err(error)
    }
}

impl Acme {
    pub(crate) fn new(wiring: Wiring, flaw: Flaw) -> Acme {
        let http = Http::new(HttpOptions {
            name: "acme".into(),
            base_url: BASE.parse().unwrap(),
            key: Some(ApiKey::new(KEY)),
            auth: Auth::Bearer,
            headers: http::HeaderMap::new(),
            settings: ServiceSettings::default(),
            judge: Arc::new(ByStatus(flaw)),
            wiring,
        });
        let max_batch = if flaw == Flaw::WrongFlags { 8 } else { 1 };
        let info = ProviderInfo {
            name: "acme".into(),
            provider: "acme".into(),
            formats: BTreeMap::from([(MediaKind::Image, vec![Format::Png])]),
            capabilities: Capabilities {
                batch_supported: false,
                max_batch,
                recoverable: false,
                resend_seconds: None,
                free: false,
                candidates: false,
                remote_batch_seconds: None,
            },
        };
        let shown = if flaw == Flaw::ShowsKey {
            KEY.to_owned()
        } else {
            String::new()
        };
        Acme {
            info,
            http,
            flaw,
            shown,
        }
    }

    fn buy<'a>(&self, url: Url, jobs: &[&'a Job], body: &Value) -> Result<Request<'a>> {
        let request = if self.flaw == Flaw::BuysInSecret {
            Request::free("generation", url).serving(jobs)
        } else {
            Request::paid("generation", url, jobs, Resend::Never)
        };
        request.in_group("image", &Units::default()).with_json(body)
    }
}

#[derive(Deserialize)]
struct Submitted {
    id: String,
}

#[derive(Deserialize)]
struct Answer {
    url: Url,
}

fn generated(media: Media) -> Generated {
    Generated {
        media,
        facts: Facts::default(),
    }
}

#[async_trait]
impl MediaProvider for Acme {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn http(&self) -> &Http {
        &self.http
    }

    fn check(&self, request: &MediaRequest) -> Result<Resolved> {
        const PARAMS: &[ParamSpec] = &[ParamSpec::image("style", ParamType::Text, "how it looks")];
        if self.flaw != Flaw::IgnoresParams {
            Params::check("acme", request.kind, &request.params, PARAMS)?;
        }
        let style = request.params.get("style").and_then(Value::as_str);
        if style == Some("") && self.flaw != Flaw::AcceptsAnything {
            return Err(Error::new(ErrorKind::InvalidRequest, "the style is empty"));
        }
        let path = request.output_path.to_string_lossy().into_owned();
        Ok(Resolved {
            model: "brush-1".into(),
            content: if self.flaw == Flaw::DependsOnPath {
                path
            } else {
                request.content.clone()
            },
            language: None,
            params: style
                .map(|style| ("style".to_owned(), Value::from(style)))
                .into_iter()
                .collect(),
            format: format_of(&request.output_path)?,
            group: "image".into(),
            units: Units::default(),
            calls: 1,
            dimensions: None,
        })
    }

    async fn generate(&self, job: &Job) -> Result<Generated> {
        let body = json!({"prompt": job.resolved().content, "key": job.key().to_string()});
        if job.resolved().content == "bytes" {
            let mut url = self.http.url(&["bytes"]);
            url.set_query(Some("style=flat"));
            return Ok(generated(Media::Staged(
                self.http.media(self.buy(url, &[job], &body)?).await?,
            )));
        }
        let submitted: Result<Submitted> = self
            .http
            .json(self.buy(self.http.url(&["make"]), &[job], &body)?)
            .await;
        let submitted = match (submitted, self.flaw) {
            // It takes its own failure to read an answer for the service's refusal.
            (Err(error), Flaw::BuysAgain) if error.kind() == ErrorKind::BadResponse => {
                return Err(error.not_billed().retryable());
            }
            (submitted, _) => submitted?,
        };
        if self.flaw == Flaw::SkipsTheQuestion {
            let link = "https://cdn.test/1.png".parse().unwrap();
            return Ok(generated(Media::Link(Link::new(link))));
        }
        let url = self.http.url(&["poll", &submitted.id]);
        let question = if self.flaw == Flaw::PaysForQuestions {
            Request::paid("poll", url, &[job], Resend::Never).with_json(&json!({}))?
        } else {
            Request::free("poll", url).serving(&[job])
        };
        let answer: Result<Answer> = self.http.json(question).await;
        let mut answer = match (answer, self.flaw) {
            (Err(error), Flaw::CallsItFree) => return Err(error.not_billed()),
            (answer, _) => answer?,
        };
        if self.flaw == Flaw::SendsKeyAway {
            answer.url.set_query(Some(&format!("key={KEY}")));
        }
        Ok(generated(Media::Link(Link::new(answer.url))))
    }

    async fn test_connection(&self) -> Result<Connection> {
        if self.flaw == Flaw::TestBuys {
            let request = self.place_an_order()?;
            self.http
                .json::<Value>(Request::paid(
                    "test",
                    self.http.url(&["me"]),
                    &[&request],
                    Resend::Never,
                ))
                .await?;
            return Ok(Connection::default());
        }
        self.http
            .json::<Value>(Request::free("connection test", self.http.url(&["me"])))
            .await?;
        Ok(Connection::default())
    }
}

impl Acme {
    /// A job out of nothing.
    fn place_an_order(&self) -> Result<Job> {
        let request = MediaRequest::image("a dog", "dog.png");
        let resolved = self.check(&request)?;
        let attempt = media_core::Attempt {
            job: "dog".to_owned(),
            request: media_core::RequestHash::of("acme", &request, &resolved),
            take: 1,
            number: 1,
        };
        Ok(Job::new(
            Arc::new(request),
            Arc::new(resolved),
            "test",
            attempt,
            media_core::Prior::Fresh,
        )
        .0)
    }
}
