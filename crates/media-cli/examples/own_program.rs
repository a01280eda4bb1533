//! A program of one's own with a provider of one's own: `media` that also knows a speech server called "parrot".
//!
//! A real one is `fn main() -> ExitCode { media_cli::main_with(Registry::built_in().with(parrot::FACTORY)) }`; this one
//! runs a list of two words against the simulator's compatible server, so that it shows something by itself.

use std::fs;
use std::process::ExitCode;

use media_registry::Registry;
use media_sim::{Scenario, Sim};

/// A whole provider, small enough for one file. One that is published has the files of docs/adding-a-provider.md.
mod parrot {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use async_trait::async_trait;
    use media_core::http::{Auth, Http, HttpOptions, Judge, Reply, Request};
    use media_core::{
        Capabilities, Connection, Factory, Facts, Format, Generated, Job, Limits, Media, MediaKind,
        MediaProvider, MediaRequest, Params, Prices, ProviderInfo, Resolved, Result, RetrySettings,
        ServiceSettings, Timeouts, limit::Units,
    };
    use serde::Deserialize;
    use serde_json::json;
    use url::Url;

    pub(crate) const FACTORY: Factory = Factory {
        name: "parrot",
        about: "a speech server of one's own",
        config: r#"{"type": "parrot", "base_url": "http://127.0.0.1:8080/v1", "api_key_env": null,
            "limits": {"concurrency": 2}, "timeouts": {"connect": "5s", "first_byte": "30s", "idle": "30s", "total": "60s"},
            "retry": {"attempts": 3, "first_delay": "1s", "max_delay": "10s"}, "prices": {"as_of": "2026-11-23", "source": "ours"}}"#,
        params: &[],
        batches: None,
        build: |setup| {
            let config: Config = setup.section.parse()?;
            Ok(Arc::new(Parrot::new(setup.section.name(), config, setup.wiring)))
        },
        check_config: |section| section.parse::<Config>().map(drop),
        // `media_core::config::provider_schema::<Config>` where the type derives `JsonSchema`.
        schema: || json!({ "type": "object" }),
    };

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        base_url: Url,
        limits: Limits,
        timeouts: Timeouts,
        retry: RetrySettings,
        prices: Prices,
    }

    #[derive(Debug)]
    struct Parrot {
        info: ProviderInfo,
        http: Http,
    }

    #[derive(Debug)]
    struct ByStatus;

    impl Judge for ByStatus {
        fn judge(&self, reply: &Reply<'_>) -> Result<()> {
            if reply.status.is_success() {
                Ok(())
            } else {
                Err(reply.by_status())
            }
        }
    }

    impl Parrot {
        fn new(name: &str, config: Config, wiring: media_core::http::Wiring) -> Parrot {
            let Config {
                base_url,
                limits,
                timeouts,
                retry,
                prices,
            } = config;
            let info = ProviderInfo {
                name: name.to_owned(),
                provider: FACTORY.name.to_owned(),
                formats: BTreeMap::from([(MediaKind::Audio, vec![Format::Mp3, Format::Wav])]),
                capabilities: Capabilities {
                    batch_supported: false,
                    max_batch: 1,
                    recoverable: false,
                    resend_seconds: None,
                    free: true,
                    candidates: false,
                    remote_batch_seconds: None,
                },
            };
            let http = Http::new(HttpOptions {
                name: name.to_owned(),
                base_url,
                key: None,
                auth: Auth::None,
                headers: http::HeaderMap::new(),
                settings: ServiceSettings {
                    limits,
                    timeouts,
                    retry,
                    prices,
                    reuse: false,
                },
                judge: Arc::new(ByStatus),
                wiring,
            });
            Parrot { info, http }
        }
    }

    #[async_trait]
    impl MediaProvider for Parrot {
        fn info(&self) -> &ProviderInfo {
            &self.info
        }

        fn http(&self) -> &Http {
            &self.http
        }

        fn check(&self, request: &MediaRequest) -> Result<Resolved> {
            Params::check(&self.info.name, request.kind, &request.params, FACTORY.params)?;
            Ok(Resolved {
                model: "local-tts".to_owned(),
                content: request.content.clone(),
                language: None,
                params: BTreeMap::new(),
                format: media_core::format_of(&request.output_path)?,
                group: "speech".to_owned(),
                units: Units::default(),
                calls: 1,
                dimensions: None,
            })
        }

        async fn generate(&self, job: &Job) -> Result<Generated> {
            let resolved = job.resolved();
            let body = json!({ "model": resolved.model, "input": resolved.content, "voice": "alloy",
                "response_format": resolved.format.name() });
            let request = Request::free("speech", self.http.url(&["audio", "speech"]))
                .serving(&[job])
                .with_json(&body)?;
            Ok(Generated {
                media: Media::Staged(self.http.media(request).await?),
                facts: Facts::default(),
            })
        }

        async fn test_connection(&self) -> Result<Connection> {
            Ok(Connection::default())
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let registry = Registry::built_in().with(parrot::FACTORY);

    let runtime = tokio::runtime::Runtime::new()?;
    let sim = runtime.block_on(Sim::start(Scenario::default()))?;
    let folder = tempfile::tempdir()?;
    let text = |path: &str| folder.path().join(path).display().to_string();
    fs::create_dir_all(text("config/providers"))?;
    fs::write(
        text("config/media.json"),
        r#"{"out": "out", "check": "full", "sizes": {"media": "16MiB", "text": "1MiB"}}"#,
    )?;
    let config = parrot::FACTORY.config.replace(
        "http://127.0.0.1:8080/v1",
        &format!("{}/openai-compat/v1", sim.url()),
    );
    fs::write(text("config/providers/parrot.json"), config)?;
    fs::write(
        text("list.csv"),
        "id,kind,provider,content,output_path\nhola,audio,parrot,hola,hola.mp3\nadios,audio,parrot,adiós,adios.wav\n",
    )?;
    let (list, config, out) = (text("list.csv"), text("config"), text("out"));
    let arguments = [
        "media", "run", &list, "--config", &config, "--out", &out, "--json",
    ];
    Ok(media_cli::run_with(&registry, arguments.map(Into::into)))
}
