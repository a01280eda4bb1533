//! The provider: one Runware account behind the trait that the client drives.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use media_core::http::{Auth, Http, HttpOptions, Request, Wiring};
use media_core::{
    ApiKey, Capabilities, Connection, Error, ErrorKind, Job, MediaKind, MediaProvider, MediaRequest,
    ProviderInfo, Resolved, Result,
};
use url::Url;
use uuid::Uuid;

use crate::check;
use crate::config::RunwareConfig;
use crate::error::{ACCOUNT_OP, RunwareJudge};
use crate::wire::{Envelope, Item, Question};

/// One Runware account.
#[derive(Debug)]
pub struct Runware {
    info: ProviderInfo,
    pub(crate) config: RunwareConfig,
    pub(crate) http: Http,
}

impl Runware {
    /// An account over the shipped transport, for library users.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a configuration that cannot work, or when TLS cannot be set up.
    #[cfg(feature = "http")]
    pub fn new(config: RunwareConfig, key: ApiKey) -> Result<Runware> {
        let wiring = Wiring::new(config.timeouts.connect.0)?;
        Runware::with_wiring(crate::NAME, config, Some(key), wiring)
    }

    /// An account under a name of one's own, with everything around it given.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a configuration that cannot work.
    pub fn with_wiring(
        name: &str,
        config: RunwareConfig,
        key: Option<ApiKey>,
        wiring: Wiring,
    ) -> Result<Runware> {
        config.validate()?;
        let http = Http::new(HttpOptions {
            name: name.to_owned(),
            base_url: config.base_url.clone(),
            key,
            auth: Auth::Bearer,
            headers: HeaderMap::new(),
            settings: config.settings(),
            judge: Arc::new(RunwareJudge),
            wiring,
        });
        let info = ProviderInfo {
            name: name.to_owned(),
            provider: crate::NAME.to_owned(),
            formats: BTreeMap::from([
                (MediaKind::Image, config.image.formats.clone()),
                (MediaKind::Audio, config.speech.formats.clone()),
            ]),
            capabilities: Capabilities {
                batch_supported: config.tasks_per_request.get() > 1,
                max_batch: config.tasks_per_request.get(),
                recoverable: true,
                resend_seconds: Some(config.resend_window.0.as_secs()),
                free: false,
                candidates: false,
                remote_batch_seconds: None,
            },
        };
        Ok(Runware { info, config, http })
    }

    /// The one address of everything.
    pub(crate) fn endpoint(&self) -> Url {
        self.http.url(&[])
    }

    async fn account(&self, question: Question) -> Result<Item> {
        let request = Request::free(ACCOUNT_OP, self.endpoint()).with_json(&[question])?;
        let mut envelope: Envelope = self.http.json(request).await?;
        if let Some(error) = envelope.take_errors().first() {
            return Err(error.of_task(ACCOUNT_OP));
        }
        let first = envelope.data.into_iter().next();
        first.ok_or_else(|| Error::new(ErrorKind::BadResponse, "the answer is empty").in_op(ACCOUNT_OP))
    }

    fn describe(&self, item: &Item) -> Connection {
        let mut connection = Connection::default();
        if let Some(organization) = &item.organization {
            connection.notes.push(format!("organization {organization}"));
        }
        let Some(balance) = item.balance.map(crate::wire::Balance::dollars) else {
            connection
                .notes
                .push("the account does not say its balance".to_owned());
            return connection;
        };
        connection.notes.push(format!("balance {balance:.2} USD"));
        let least = self.config.minimum_balance_usd;
        if balance < least.dollars() {
            connection.warnings.push(format!(
                "the balance of {balance:.2} USD is below the {least} USD of minimum_balance_usd; models of partners \
                 may be refused, and a run can end for lack of credit"
            ));
        }
        connection
    }
}

#[async_trait]
impl MediaProvider for Runware {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn http(&self) -> &Http {
        &self.http
    }

    fn check(&self, request: &MediaRequest) -> Result<Resolved> {
        check::resolve(&self.info.name, &self.config, request)
    }

    async fn generate_batch(&self, jobs: &[Job]) {
        self.buy(jobs).await;
    }

    async fn recover(&self, jobs: &[Job]) {
        self.look_for(jobs).await;
    }

    async fn test_connection(&self) -> Result<Connection> {
        let task_uuid = Uuid::new_v4().to_string();
        let details = Question::AccountManagement {
            task_uuid: task_uuid.clone(),
            operation: "getDetails",
        };
        let refused = match self.account(details).await {
            Ok(item) => return Ok(self.describe(&item)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => error,
            Err(error) => return Err(error),
        };
        // Keys can be barred from the account and still buy.
        let pong = self
            .account(Question::Ping {
                task_uuid,
                ping: true,
            })
            .await?;
        if pong.pong != Some(true) {
            return Err(refused);
        }
        Ok(Connection {
            notes: vec!["the key works, but may not see the account's balance".to_owned()],
            warnings: Vec::new(),
        })
    }
}
