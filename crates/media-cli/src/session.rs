//! From flags and files to providers that are ready for use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy as _;
use media_core::config::{Config, PROGRAM, Setup, Sources, load_keys};
use media_core::http::{ReqwestTransport, Wiring};
use media_core::limit::{Accounts, MemoryQuota, QuotaStore};
use media_core::{
    ApiKey, BatchSwitch, CheckLevel, Client, Error, ErrorKind, Journal, NoJournal, Result, SizeLimits,
    Staging, Stop, Timeouts, Usd,
};
use media_engine::{Caps, Folder, Instance, Project, Reader, SharedQuota};
use media_registry::Registry;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::{BatchArgs, BudgetArgs, Global, ListArgs, PlaceArgs};
use crate::simulate::Simulation;

/// `media.json`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProgramSettings {
    /// The list of commands that name none.
    #[serde(default)]
    list: Option<PathBuf>,
    /// The recipe of that list.
    #[serde(default)]
    recipe: Option<PathBuf>,
    /// Where files go when no --out says otherwise.
    out: PathBuf,
    /// How closely media are looked at.
    pub(crate) check: CheckLevel,
    /// The largest answers that are taken.
    pub(crate) sizes: SizeLimits,
    /// What may be spent.
    #[serde(default)]
    budget: Budget,
}

/// `budget`: ceilings for what is bought.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// By all runs with one ledger.
    #[serde(default)]
    total_usd: Option<Usd>,
    /// By all runs with one ledger in one day (UTC).
    #[serde(default)]
    per_day_usd: Option<Usd>,
}

/// A list and how to read it, whether the command names them or the configuration.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) path: PathBuf,
    pub(crate) recipe: Option<PathBuf>,
    pub(crate) out: PathBuf,
    named_ledger: Option<PathBuf>,
    /// Only these providers, if any are named.
    pub(crate) providers: Vec<String>,
}

impl List {
    /// The place with this list.
    pub(crate) fn of(self, path: PathBuf, recipe: Option<PathBuf>) -> List {
        List { path, recipe, ..self }
    }

    /// The place that was named for its ledger.
    pub(crate) fn named_ledger(&self) -> Option<&Path> {
        self.named_ledger.as_deref()
    }

    /// Where its ledger is.
    pub(crate) fn ledger(&self) -> PathBuf {
        media_engine::ledger_path(&self.out, self.named_ledger.as_deref())
    }

    /// What its ledger knows.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn reader(&self) -> Result<Reader> {
        let path = self.ledger();
        Reader::open(&path)?.ok_or_else(|| {
            Error::config(format!("there is no ledger at {}", path.display()))
                .hint("name the output folder by --out, or the ledger by --ledger")
        })
    }

    /// The list that this place was last made from, as far as it is still there.
    pub(crate) fn noted(self) -> Result<Option<List>> {
        let noted = media_engine::noted_list(&self.reader()?)?;
        Ok(noted.map(|(path, recipe)| self.of(path, recipe)))
    }
}

/// The configuration and the environment that it is used in.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) config: Config,
    /// What a real run would read, where a simulation covers some of it: a mistake in that is none the less one.
    beneath: Option<Config>,
    pub(crate) program: ProgramSettings,
    environment: BTreeMap<String, String>,
    simulation: Option<Simulation>,
    accounts: Accounts,
    quota: Arc<dyn QuotaStore>,
    /// What this user's runs know of each other.
    state: Option<PathBuf>,
    pub(crate) stop: Stop,
}

impl<'a> Session<'a> {
    /// Loads the configuration, with a simulation laid over it where there is one.
    pub(crate) fn load(
        registry: &'a Registry,
        global: &Global,
        simulation: Option<Simulation>,
    ) -> Result<Session<'a>> {
        Session::load_for(registry, global, simulation, None, BatchArgs::default())
    }

    /// The same, for a command that makes files.
    pub(crate) fn load_for(
        registry: &'a Registry,
        global: &Global,
        simulation: Option<Simulation>,
        concurrency: Option<NonZeroUsize>,
        batches: BatchArgs,
    ) -> Result<Session<'a>> {
        let environment = environment(global.env_file.as_deref())?;
        let mut sources = Sources {
            dir: global.config.clone(),
            environment: environment.clone(),
            overlays: Vec::new(),
        };
        // The names and types of the instances must be known before anything can be laid over them.
        let bare = Config::load(&sources)?;
        for (name, section) in bare.providers() {
            if let Some(simulation) = &simulation
                && let Some(values) = simulation.overlay(&section.provider_type()?)
            {
                sources
                    .overlays
                    .push((name.clone(), values, "--simulate".to_owned()));
            }
            let switch = registry
                .factory_of(section)
                .ok()
                .and_then(|factory| factory.batches);
            for (flag, values) in switch
                .into_iter()
                .flat_map(|switch| batch_overlays(batches, switch))
            {
                let values = serde_json::from_str(values).map_err(|error| {
                    Error::new(ErrorKind::Config, format!("{name} cannot be switched to batches"))
                        .because(error)
                })?;
                sources.overlays.push((name.clone(), values, flag.to_owned()));
            }
            if let Some(concurrency) = concurrency {
                let values = json!({ "limits": { "concurrency": concurrency } });
                sources
                    .overlays
                    .push((name.clone(), values, "--concurrency".to_owned()));
            }
        }
        let beneath = simulation.is_some().then(|| bare.clone());
        let config = if sources.overlays.is_empty() {
            bare
        } else {
            Config::load(&sources)?
        };
        let program = config.program().parse()?;
        let state = state_dir(&environment);
        // What is simulated is nobody's quota.
        let quota: Arc<dyn QuotaStore> = match &simulation {
            Some(_) => Arc::new(MemoryQuota::default()),
            None => Arc::new(SharedQuota::at(
                state.as_ref().map(|dir| dir.join("quota.sqlite")),
            )),
        };
        Ok(Session {
            registry,
            config,
            beneath,
            program,
            environment,
            simulation,
            accounts: Accounts::default(),
            quota,
            state,
            stop: Stop::new(),
        })
    }

    /// The list that a command is about.
    pub(crate) fn list(&self, args: &ListArgs) -> Result<List> {
        let program = &self.program;
        // The configured recipe is that of the configured list, not of any other.
        let (path, recipe) = match (&args.list, &program.list) {
            (Some(path), _) => (path, args.recipe.as_ref()),
            (None, Some(path)) => (path, args.recipe.as_ref().or(program.recipe.as_ref())),
            (None, None) => {
                return Err(Error::config("no list is named")
                    .hint("name one on the command line, or as \"list\" in media.json"));
            }
        };
        Ok(List {
            recipe: recipe.cloned(),
            path: path.clone(),
            providers: args.provider.clone(),
            ..self.place(&args.place)
        })
    }

    /// What may be spent: what the command says counts more than the configuration.
    pub(crate) fn caps(&self, args: &BudgetArgs) -> Caps {
        Caps {
            total: args.max_cost.or(self.program.budget.total_usd),
            run: args.max_run_cost,
            day: self.program.budget.per_day_usd,
        }
    }

    /// An output folder without a list.
    pub(crate) fn place(&self, args: &PlaceArgs) -> List {
        List {
            path: PathBuf::new(),
            recipe: None,
            out: args.out.clone().unwrap_or_else(|| self.program.out.clone()),
            named_ledger: args.ledger.clone(),
            providers: Vec::new(),
        }
    }

    /// The list if one is named, else only its place.
    pub(crate) fn list_or_place(&self, args: &ListArgs) -> Result<List> {
        if args.list.is_some() {
            return self.list(args);
        }
        Ok(List {
            providers: args.provider.clone(),
            ..self.place(&args.place)
        })
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.simulation.is_some()
    }

    pub(crate) fn simulation(&self) -> Option<&Simulation> {
        self.simulation.as_ref()
    }

    /// The keys of these instances. Simulated services have keys of their own; a real key never goes to them.
    pub(crate) fn keys(&self, instances: &BTreeSet<String>) -> Result<BTreeMap<String, Option<ApiKey>>> {
        if let Some(simulation) = &self.simulation {
            let mut keys = BTreeMap::new();
            for name in instances {
                let kind = self.config.provider(name)?.provider_type()?;
                let key = simulation.key(&kind).ok_or_else(|| {
                    Error::config(format!(
                        "{name} cannot be simulated: the simulator knows no {kind:?}"
                    ))
                    .hint("leave its rows out: --provider names those that are wanted")
                })?;
                keys.insert(name.clone(), Some(key));
            }
            return Ok(keys);
        }
        load_keys(&self.config, instances, &self.environment)
    }

    /// Providers that can check and plan, without keys: every configured instance that is built in.
    pub(crate) fn offline(&self) -> Result<Project> {
        Ok(Project::new(self.unkeyed()?))
    }

    /// Whether this program has what an instance is configured for.
    pub(crate) fn is_built_in(&self, name: &str) -> Result<bool> {
        let kind = self.config.provider(name)?.provider_type()?;
        Ok(self.registry.factory(&kind).is_ok())
    }

    fn unkeyed(&self) -> Result<BTreeMap<String, Instance>> {
        let mut instances = BTreeMap::new();
        for name in self.config.providers().keys() {
            if !self.is_built_in(name)? {
                // Only an error for a list that uses it; see `explain_missing`.
                continue;
            }
            instances.insert(name.clone(), self.instance(name, None, Around::nothing())?);
        }
        Ok(instances)
    }

    /// A clearer answer to findings that miss a provider, where that is configured and not built in, or of a misspelt type.
    pub(crate) fn explain_missing(&self, findings: Error) -> Error {
        let told = findings.full();
        let missed = self
            .config
            .providers()
            .iter()
            .filter(|(name, _)| told.contains(&format!("there is no provider {name:?}")));
        let mut reasons = missed.filter_map(|(_, section)| self.registry.factory_of(section).err());
        reasons.next().unwrap_or(findings)
    }

    /// Providers ready to send, with these keys, into `folder`; the others only read what a list says of them.
    pub(crate) fn online(&self, keys: BTreeMap<String, Option<ApiKey>>, folder: &Folder) -> Result<Project> {
        let mut instances = self.unkeyed()?;
        for (name, key) in keys {
            let around = Around {
                staging: Staging::Folder(folder.inner().into()),
                journal: folder.ledger().journal(),
            };
            let mut instance = self.instance(&name, key, around)?;
            instance.client = instance.client.in_project(folder.project());
            instances.insert(name, instance);
        }
        Ok(Project::new(instances))
    }

    /// Marks these accounts as in use for as long as the marks are kept; gives the instances whose accounts another process
    /// uses already. It is told, and no more: where it cannot be marked, nothing is wrong.
    pub(crate) fn mark_in_use(&self, keys: &BTreeMap<String, Option<ApiKey>>) -> (Vec<File>, Vec<String>) {
        let (mut marks, mut shared) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        let Some(folder) = self.state.as_ref().filter(|_| self.simulation.is_none()) else {
            return (marks, shared);
        };
        let folder = folder.join("in-use");
        for (name, key) in keys {
            let Some(account) = key.as_ref().map(ApiKey::account) else {
                continue;
            };
            // Two instances with one key are one account, and this process.
            if !seen.insert(account.clone()) {
                continue;
            }
            let opened = std::fs::create_dir_all(&folder).and_then(|()| File::create(folder.join(account)));
            let Ok(mark) = opened else { continue };
            match mark.try_lock() {
                Err(std::fs::TryLockError::WouldBlock) => shared.push(name.clone()),
                _ => marks.push(mark),
            }
        }
        (marks, shared)
    }

    /// One provider ready to be asked whether its key works.
    pub(crate) fn alone(&self, name: &str) -> Result<Client> {
        let names = BTreeSet::from([name.to_owned()]);
        let key = self.keys(&names)?.remove(name).flatten();
        Ok(self.instance(name, key, Around::nothing())?.client)
    }

    fn instance(&self, name: &str, key: Option<ApiKey>, around: Around) -> Result<Instance> {
        if let Some(beneath) = &self.beneath {
            let section = beneath.provider(name)?;
            (self.registry.factory_of(section)?.check_config)(section)?;
        }
        let section = self.config.provider(name)?.clone();
        let params = self.registry.factory_of(&section)?.params;
        let timeouts: Timeouts = section.get("timeouts")?;
        let transport = ReqwestTransport::new(timeouts.connect.0)?;
        let mut wiring = Wiring::over(Arc::new(transport));
        // Two instances with one key are one account.
        wiring.accounts = self.accounts.clone();
        wiring.quota = Arc::clone(&self.quota);
        wiring.staging = around.staging;
        wiring.journal = around.journal;
        wiring.sizes = self.program.sizes;
        wiring.stop = self.stop.clone();
        let provider = self.registry.build(Setup { section, key, wiring })?;
        let client = Client::of(provider).checking(self.program.check);
        Ok(Instance { client, params })
    }

    /// Every value as understood.
    pub(crate) fn shown(&self) -> Result<Value> {
        let mut providers = serde_json::Map::new();
        for (name, section) in self.config.providers() {
            providers.insert(name.clone(), section.value()?);
        }
        Ok(json!({ PROGRAM: self.config.program().value()?, "providers": providers }))
    }
}

/// The flags that have files made in remote batches, with what each lays over a configuration.
fn batch_overlays(
    batches: BatchArgs,
    switch: BatchSwitch,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let flags = [
        (batches.batch_api, "--batch-api", switch.on),
        (batches.no_wait, "--no-wait", switch.leave),
    ];
    let given = flags.into_iter().filter(|(is_given, ..)| *is_given);
    given.map(|(_, flag, values)| (flag, values))
}

/// Where an instance leaves what it makes and what it does.
struct Around {
    staging: Staging,
    journal: Arc<dyn Journal>,
}

impl Around {
    /// For what makes nothing.
    fn nothing() -> Around {
        Around {
            staging: Staging::Beside,
            journal: Arc::new(NoJournal),
        }
    }
}

/// Where this user's runs keep what they must know of each other.
fn state_dir(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    if let Some(named) = environment.get("MEDIA_STATE_DIR").filter(|dir| !dir.is_empty()) {
        return Some(PathBuf::from(named));
    }
    // Only some systems have a place for state that is neither data nor configuration.
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.state_dir().unwrap_or_else(|| base.data_dir()).join("media"))
}

/// The environment, with the lines of --env-file beneath it.
fn environment(file: Option<&Path>) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::Config, format!("cannot read {}", path.display()))
                .because(error)
                .not_billed()
        })?;
        // Notepad begins a file with a byte order mark.
        let text = text.trim_start_matches('\u{feff}');
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else {
                // Never the line itself: it may be half a key.
                return Err(Error::config(format!(
                    "{}, line {}: write NAME=VALUE",
                    path.display(),
                    number + 1
                )));
            };
            let value = value.trim();
            let bare = ['"', '\'']
                .iter()
                .find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q))
                .unwrap_or(value);
            all.insert(name.trim().to_owned(), bare.to_owned());
        }
    }
    for (name, value) in std::env::vars_os() {
        let shown = name.to_string_lossy().into_owned();
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                all.insert(name, value);
            }
            _ if shown.starts_with("MEDIA_CONFIG") || shown == "MEDIA_STATE_DIR" => {
                return Err(Error::config(format!("the variable {shown} is not UTF-8 text")));
            }
            // What is not text cannot be ours.
            _ => {}
        }
    }
    Ok(all)
}
