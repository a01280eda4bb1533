//! The conformance suite for a media provider: plays recorded exchanges, needs no network and no simulator.
//!
//! Record each way to success as a [`Case`]: a request, and the [`Exchange`]s that it leads to. [`conformance`] plays
//! each case as recorded, then again with each [`Fault`] at each call and with each value of its JSON changed, and after every play checks what a provider
//! must do whatever its API is. It plays in the time of tokio's clock, so the test wants
//! `#[tokio::test(start_paused = true)]`: with a running clock every retry would take as long as it says.
//!
//! # Example
//!
//! A whole provider, and its test:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use media_core::http::{Auth, Http, HttpOptions, Judge, Reply, Request, Resend, Wiring};
//! use media_core::limit::Units;
//! use media_core::{
//!     ApiKey, Capabilities, Connection, Facts, Format, Generated, Job, Link, Media, MediaKind, MediaProvider,
//!     MediaRequest, Params, ProviderInfo, Resolved, Result, ServiceSettings, format_of,
//! };
//! use media_testkit::{Case, Cases, Exchange, conformance, media};
//! use serde_json::{Value, json};
//!
//! const BASE: &str = "https://api.acme.test/v1";
//! const KEY: &str = "sk-test-0123456789";
//!
//! #[derive(Debug)]
//! struct Acme {
//!     info: ProviderInfo,
//!     http: Http,
//! }
//!
//! /// Reads the service's answers: here their status says everything.
//! #[derive(Debug)]
//! struct ByStatus;
//!
//! impl Judge for ByStatus {
//!     fn judge(&self, reply: &Reply<'_>) -> Result<()> {
//!         if reply.status.is_success() { Ok(()) } else { Err(reply.by_status()) }
//!     }
//! }
//!
//! fn acme(wiring: Wiring) -> Acme {
//!     let http = Http::new(HttpOptions {
//!         name: "acme".into(),
//!         base_url: BASE.parse().unwrap(),
//!         key: Some(ApiKey::new(KEY)),
//!         auth: Auth::Bearer,
//!         headers: http::HeaderMap::new(),
//!         settings: ServiceSettings::default(),
//!         judge: Arc::new(ByStatus),
//!         wiring,
//!     });
//!     let capabilities = Capabilities::default();
//!     let formats = BTreeMap::from([(MediaKind::Image, vec![Format::Png])]);
//!     Acme { info: ProviderInfo { name: "acme".into(), provider: "acme".into(), formats, capabilities }, http }
//! }
//!
//! #[async_trait]
//! impl MediaProvider for Acme {
//!     fn info(&self) -> &ProviderInfo {
//!         &self.info
//!     }
//!
//!     fn http(&self) -> &Http {
//!         &self.http
//!     }
//!
//!     fn check(&self, request: &MediaRequest) -> Result<Resolved> {
//!         Params::check("acme", request.kind, &request.params, &[])?;
//!         Ok(Resolved {
//!             model: "brush-1".into(),
//!             content: request.content.clone(),
//!             language: None,
//!             params: BTreeMap::new(),
//!             format: format_of(&request.output_path)?,
//!             group: "image".into(),
//!             units: Units::default(),
//!             calls: 1,
//!             dimensions: None,
//!         })
//!     }
//!
//!     async fn generate(&self, job: &Job) -> Result<Generated> {
//!         let request = Request::paid("image generation", self.http.url(&["images"]), &[job], Resend::Never)
//!             .in_group("image", &job.resolved().units)
//!             .with_json(&json!({"prompt": job.resolved().content}))?;
//!         #[derive(serde::Deserialize)]
//!         struct Answer {
//!             url: url::Url,
//!         }
//!         let answer: Answer = self.http.json(request).await?;
//!         Ok(Generated { media: Media::Link(Link::new(answer.url)), facts: Facts::default() })
//!     }
//!
//!     async fn test_connection(&self) -> Result<Connection> {
//!         self.http.json::<Value>(Request::free("connection test", self.http.url(&["models"]))).await?;
//!         Ok(Connection::default())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! // #[tokio::test(start_paused = true)]
//! // async fn it_conforms() {
//! let cases = Cases::new(BASE, KEY)
//!     .plays(
//!         Case::new("a picture", MediaRequest::image("a dog", "dog.png"))
//!             .with(
//!                 Exchange::post("/v1/images")
//!                     .buys()
//!                     .asks(json!({"prompt": "a dog"}))
//!                     .answers_json(200, json!({"url": "https://cdn.test/1.png"})),
//!             )
//!             .with(Exchange::get("/1.png").on("https://cdn.test").answers(200, media::png())),
//!     )
//!     .connects(Exchange::get("/v1/models").answers_json(200, json!([])))
//!     .refuses("a voice for a picture", MediaRequest::image("a dog", "dog.png").param("voice", "Ann"));
//! conformance(|wiring| Arc::new(acme(wiring)), &cases).await;
//! # }
//! ```

mod cases;
mod exchange;
mod fault;
mod finding;
mod journal;
mod mangle;
pub mod media;
mod offline;
mod play;
mod rules;

use std::sync::Arc;

use media_core::MediaProvider;
use media_core::http::Wiring;

pub use self::cases::{Case, Cases};
pub use self::exchange::Exchange;
pub use self::fault::Fault;
pub use self::finding::Finding;
pub use self::mangle::Mangled;

use self::fault::Trouble;
use self::mangle::Turned;

/// Checks a provider against everything that [`findings`] looks at.
///
/// `make` makes the provider from its surroundings, with the address and the key of the cases. It is called for every
/// play.
///
/// # Panics
/// When anything was found, with all of it.
pub async fn conformance(make: impl Fn(Wiring) -> Arc<dyn MediaProvider>, cases: &Cases) {
    let findings = findings(make, cases).await;
    let list: Vec<String> = findings.iter().map(|finding| format!("- {finding}")).collect();
    assert!(
        findings.is_empty(),
        "the provider does not conform:\n{}",
        list.join("\n")
    );
}

/// Checks a provider and gives back what it does wrong, each finding once.
pub async fn findings(make: impl Fn(Wiring) -> Arc<dyn MediaProvider>, cases: &Cases) -> Vec<Finding> {
    let make: &dyn Fn(Wiring) -> Arc<dyn MediaProvider> = &make;
    let mut found = finding::Findings::default();
    offline::look(make, cases, &mut found);
    rules::connection(make, cases, &mut found).await;
    for case in cases.cases() {
        let calls = rules::as_recorded(make, cases, case, &mut found).await;
        for (call, places) in calls.into_iter().enumerate() {
            let mangled = (0..places).flat_map(|place| {
                let change = move |turned| Fault::Mangled(Mangled { place, turned });
                Turned::ALL.into_iter().map(change)
            });
            for fault in Fault::ALL.into_iter().chain(mangled) {
                for lasting in [false, true] {
                    let trouble = Trouble { fault, call, lasting };
                    rules::with_fault(make, cases, case, trouble, &mut found).await;
                }
            }
        }
        for fault in Fault::ALL {
            rules::several(make, cases, case, fault, &mut found).await;
        }
    }
    found.into_list()
}
