//! Configuration: every complaint names the file (or variable) and the key, and nothing falls back in silence.

use std::collections::{BTreeMap, BTreeSet};

use media_core::config::{Config, Section, Sources, load_keys};
use media_core::{Error, ErrorKind, Limits, Size, Span};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Own {
    base_url: String,
    image: Picture,
    timeout: Span,
    most: Size,
    voices: Vec<String>,
    limits: Limits,
    #[serde(default)]
    extra: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Picture {
    quality: String,
    steps: u32,
    strict: bool,
}

fn acme() -> Value {
    json!({
        "$schema": "x", "$comment": "at the top",
        "type": "acme",
        "api_key_env": "ACME_KEY",
        "base_url": "https://api.acme.test",
        "image": {"$comment": ["deeper"], "quality": "low", "steps": 20, "strict": false},
        "timeout": "30s",
        "most": "32MiB",
        "voices": ["Ann", "Bob", "Cid"],
        "limits": {"concurrency": 4, "$comment": "here too", "image": {"requests_per_minute": 60}},
        "extra": {"gpt-4.1": {"$comment": "and here", "price": 0.0006}, "rows": [{"$comment": 1, "x": 1}]}
    })
}

struct Folder {
    dir: TempDir,
    environment: BTreeMap<String, String>,
    overlays: Vec<(String, Value, String)>,
}

impl Folder {
    fn new(providers: &[(&str, String)]) -> Folder {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("providers")).unwrap();
        std::fs::write(dir.path().join("media.json"), "{\"concurrency\": 2}").unwrap();
        for (name, text) in providers {
            std::fs::write(dir.path().join("providers").join(format!("{name}.json")), text).unwrap();
        }
        Folder {
            dir,
            environment: BTreeMap::new(),
            overlays: Vec::new(),
        }
    }

    fn acme() -> Folder {
        Folder::new(&[("acme", acme().to_string())])
    }

    /// With one value of the file replaced.
    fn changed(path: &str, value: Value) -> Folder {
        let mut whole = acme();
        *whole.pointer_mut(path).unwrap() = value;
        Folder::new(&[("acme", whole.to_string())])
    }

    fn variable(mut self, name: &str, value: &str) -> Folder {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn load(&self) -> Result<Config, Error> {
        Config::load(&Sources {
            dir: Some(self.dir.path().to_owned()),
            environment: self.environment.clone(),
            overlays: self.overlays.clone(),
        })
    }

    fn own(&self) -> Result<Own, Error> {
        self.load()?.provider("acme")?.parse()
    }

    fn file(&self) -> String {
        self.dir.path().join("providers/acme.json").display().to_string()
    }
}

#[track_caller]
fn complains<T: std::fmt::Debug>(result: Result<T, Error>, parts: &[&str]) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.full();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    text
}

#[test]
fn a_whole_folder_is_read() {
    let config = Folder::acme().load().unwrap();
    let section = config.provider("acme").unwrap();
    assert_eq!(section.provider_type().unwrap(), "acme");
    assert_eq!(section.api_key_env().unwrap().as_deref(), Some("ACME_KEY"));
    let own: Own = section.parse().unwrap();
    assert_eq!(
        (own.image.steps, own.timeout, own.most),
        (20, Span::secs(30), Size::mib(32))
    );
    assert_eq!(
        own.extra["gpt-4.1"],
        json!({"price": 0.0006}),
        "remarks are gone at every depth"
    );
    assert_eq!(own.extra["rows"], json!([{"x": 1}]));
    assert_eq!(config.program().get::<u32>("concurrency").unwrap(), 2);
    assert_eq!(section.value().unwrap()["voices"], json!(["Ann", "Bob", "Cid"]));
}

#[test]
fn a_byte_order_mark_is_understood() {
    let folder = Folder::new(&[("acme", format!("\u{feff}{}", acme()))]);
    assert!(folder.own().is_ok());
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    for (path, at) in [("", ""), ("/image", "image"), ("/limits/image", "limits.image")] {
        let mut whole = acme();
        whole.pointer_mut(path).unwrap()["qualty"] = json!("high");
        let folder = Folder::new(&[("acme", whole.to_string())]);
        complains(folder.own(), &[&folder.file(), at, "qualty"]);
    }
}

#[test]
fn a_wrong_type_is_named_with_its_file_and_key() {
    for (path, value, key) in [
        ("/image/steps", json!("twenty"), "image.steps"),
        ("/image/strict", json!("no"), "image.strict"),
        ("/image/steps", json!(-1), "image.steps"),
        ("/timeout", json!("30"), "timeout"),
        ("/timeout", json!(30), "timeout"),
        ("/most", json!("big"), "most"),
        ("/voices", json!("Ann"), "voices"),
        ("/limits/concurrency", json!(0), "limits.concurrency"),
        (
            "/limits/image/requests_per_minute",
            json!("60"),
            "limits.image.requests_per_minute",
        ),
        ("/image", json!(null), "image"),
    ] {
        let folder = Folder::changed(path, value);
        complains(folder.own(), &[&folder.file(), key]);
    }
    let folder = Folder::changed("/image/steps", json!("twenty"));
    let config = folder.load().unwrap();
    let image = config.provider("acme").unwrap().get::<Picture>("image");
    complains(image, &[&folder.file(), "image.steps"]);
}

#[test]
fn a_missing_key_is_named() {
    for (parent, key) in [("", "base_url"), ("/image", "steps"), ("/limits", "concurrency")] {
        let mut whole = acme();
        whole
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(key);
        let folder = Folder::new(&[("acme", whole.to_string())]);
        complains(folder.own(), &[&folder.file(), key]);
    }
    let without = |key| {
        let mut whole = acme();
        whole.as_object_mut().unwrap().remove(key);
        Folder::new(&[("acme", whole.to_string())])
    };
    let folder = without("type");
    let config = folder.load().unwrap();
    complains(
        config.provider("acme").unwrap().provider_type(),
        &[&folder.file(), "type"],
    );
    let folder = without("api_key_env");
    complains(folder.load(), &[&folder.file(), "api_key_env"]);
}

#[test]
fn a_server_without_keys_says_so() {
    let folder = Folder::changed("/api_key_env", Value::Null);
    let config = folder.load().unwrap();
    assert_eq!(config.provider("acme").unwrap().api_key_env().unwrap(), None);
    let keys = load_keys(&config, &BTreeSet::from(["acme".to_owned()]), &BTreeMap::new()).unwrap();
    assert!(keys["acme"].is_none());
}

#[test]
fn broken_files_and_names_are_named() {
    let folder = Folder::new(&[("acme", "{\"type\": ".into())]);
    complains(folder.load(), &[&folder.file(), "not JSON"]);
    let folder = Folder::new(&[("acme", "[]".into())]);
    complains(folder.load(), &[&folder.file(), "object"]);
    for name in ["Acme", "1acme", "ac_me", "media"] {
        let folder = Folder::new(&[(name, acme().to_string())]);
        complains(folder.load(), &[&format!("{name}.json")]);
    }
    let folder = Folder::acme();
    complains(
        folder.load().unwrap().provider("amce").map(drop),
        &["\"amce\"", "acme"],
    );
    std::fs::remove_file(folder.dir.path().join("media.json")).unwrap();
    complains(folder.load(), &["media.json"]);
    let sources = Sources {
        dir: Some(folder.dir.path().join("nowhere")),
        ..Sources::default()
    };
    complains(Config::load(&sources), &["nowhere", "--config"]);
    let environment = BTreeMap::from([("MEDIA_CONFIG_DIR".to_owned(), "/nowhere/at/all".to_owned())]);
    complains(
        Config::load(&Sources {
            environment,
            ..Sources::default()
        }),
        &["/nowhere/at/all", "MEDIA_CONFIG_DIR"],
    );
}

#[test]
fn the_folder_may_be_named_by_a_variable() {
    let folder = Folder::acme();
    let named = BTreeMap::from([(
        "MEDIA_CONFIG_DIR".to_owned(),
        folder.dir.path().display().to_string(),
    )]);
    let config = Config::load(&Sources {
        environment: named,
        ..Sources::default()
    })
    .unwrap();
    assert_eq!(config.dir(), folder.dir.path());
}

#[test]
fn variables_are_json_or_text() {
    let own = Folder::acme()
        .variable("MEDIA_CONFIG__acme__image__steps", "7")
        .variable("MEDIA_CONFIG__acme__image__strict", "true")
        .variable("MEDIA_CONFIG__acme__image__quality", "very high")
        .variable("MEDIA_CONFIG__acme__base_url", "\"007\"")
        .variable("MEDIA_CONFIG__acme__voices", "[\"Dee\"]")
        .variable("MEDIA_CONFIG__acme__timeout", "5m")
        .variable("MEDIA_CONFIG__acme__limits__image__requests_per_minute", "null")
        .own()
        .unwrap();
    assert_eq!(
        own.image,
        Picture {
            quality: "very high".into(),
            steps: 7,
            strict: true
        }
    );
    assert_eq!((own.base_url.as_str(), own.timeout), ("007", Span::secs(300)));
    assert_eq!(own.voices, ["Dee"], "an array is replaced, not added to");
    assert!(
        own.limits.groups["image"].windows().is_empty(),
        "null takes a ceiling back"
    );
    assert_eq!(own.limits.concurrency.get(), 4, "what was not named stays");
}

#[test]
fn a_variable_is_named_when_it_is_wrong() {
    let variable = "MEDIA_CONFIG__acme__image__steps";
    complains(
        Folder::acme().variable(variable, "many").own(),
        &[variable, "image.steps"],
    );
    let unknown = "MEDIA_CONFIG__acme__image__stepz";
    complains(Folder::acme().variable(unknown, "7").own(), &["stepz", unknown]);
    for variable in ["MEDIA_CONFIG__amce__image__steps", "MEDIA_CONFIG____steps"] {
        complains(Folder::acme().variable(variable, "7").load(), &[variable]);
    }
    for variable in [
        "MEDIA_CONFIG__acme",
        "MEDIA_CONFIG__acme__",
        "MEDIA_CONFIG__acme__image____steps",
    ] {
        complains(Folder::acme().variable(variable, "7").load(), &[variable]);
    }
}

/// What only the provider can check is named by where it was read, too.
#[test]
fn a_complaint_of_the_provider_names_the_variable() {
    let variable = "MEDIA_CONFIG__acme__image__steps";
    let folder = Folder::acme().variable(variable, "7");
    let config = folder.load().unwrap();
    let section = config.provider("acme").unwrap();
    let said = |message: &str| section.complaint(&Error::config(message)).message().to_owned();
    assert_eq!(
        said("image.steps: too few"),
        format!("{variable}: image.steps: too few")
    );
    assert_eq!(
        said("image.steps.first: too few"),
        format!("{variable}: image.steps.first: too few")
    );
    let file = folder.file();
    assert_eq!(said("image.quality: bad"), format!("{file}: image.quality: bad"));
    assert_eq!(said("it is not good"), format!("{file}: it is not good"));
    let laid = [("image.steps".to_owned(), variable.to_owned())];
    assert_eq!(section.overlaid().unwrap(), laid);
}

#[test]
fn a_key_that_is_given_twice_is_refused() {
    let whole = acme().to_string();
    for twice in ["\"timeout\":\"1s\"", "\"type\":\"acme\""] {
        let text = format!("{{{twice},{}", &whole[1..]);
        complains(
            Folder::new(&[("acme", text)]).load(),
            &["there twice", "acme.json"],
        );
    }
    let remarks = format!("{{\"$comment\":\"one\",{}", &whole[1..]);
    assert!(Folder::new(&[("acme", remarks)]).own().is_ok());
}

#[test]
fn a_key_is_not_sent_in_the_clear_over_the_internet() {
    for far in [
        "http://api.acme.test",
        "http://8.8.8.8/v1",
        "http://127.0.0.1.evil.com/v1",
    ] {
        complains(
            Folder::changed("/base_url", json!(far)).load(),
            &["base_url", "plain http"],
        );
    }
    for near in [
        "http://127.0.0.1:9/v1",
        "http://[::1]:9",
        "http://localhost:1",
        "http://192.168.1.5:1234/v1",
        "http://litellm:4000",
        "http://nas.local",
    ] {
        assert!(Folder::changed("/base_url", json!(near)).load().is_ok(), "{near}");
    }
    let mut keyless = acme();
    keyless["api_key_env"] = Value::Null;
    keyless["base_url"] = json!("http://api.acme.test");
    assert!(Folder::new(&[("acme", keyless.to_string())]).load().is_ok());
    let text = complains(
        Folder::changed("/base_url", json!("https://u:PASSWORD@api.acme.test")).load(),
        &["base_url", "password"],
    );
    assert!(!text.contains("PASSWORD"), "{text}");
}

#[test]
fn other_variables_are_not_ours() {
    let folder = Folder::acme()
        .variable("MEDIA_ROOT", "/srv")
        .variable("MEDIA_CONFIG", "x")
        .variable("MEDIA_CONFIG_", "x")
        .variable("ACME_KEY", "123")
        .variable("media_config__acme__nothing", "x");
    assert!(folder.own().is_ok());
}

#[test]
fn an_instance_with_a_hyphen_is_written_with_an_underscore() {
    let folder = Folder::new(&[("acme-two", acme().to_string())])
        .variable("MEDIA_CONFIG__acme_two__image__steps", "9");
    let own: Own = folder
        .load()
        .unwrap()
        .provider("acme-two")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(own.image.steps, 9);
}

#[test]
fn overlays_come_last_and_are_named() {
    let mut folder = Folder::acme().variable("MEDIA_CONFIG__acme__image__steps", "7");
    folder.overlays.push((
        "acme".into(),
        json!({"image": {"steps": 9, "$comment": "x"}}),
        "--set".into(),
    ));
    folder
        .overlays
        .push(("media".into(), json!({"concurrency": 5}), "--concurrency".into()));
    assert_eq!(
        folder.own().unwrap().image,
        Picture {
            quality: "low".into(),
            steps: 9,
            strict: false
        }
    );
    assert_eq!(
        folder
            .load()
            .unwrap()
            .program()
            .get::<u32>("concurrency")
            .unwrap(),
        5
    );
    folder
        .overlays
        .push(("acme".into(), json!({"image": {"steps": "x"}}), "--steps".into()));
    complains(folder.own(), &["--steps", "image.steps"]);
    folder
        .overlays
        .push(("nobody".into(), json!({}), "--other".into()));
    complains(folder.load(), &["--other", "nobody"]);
}

#[test]
fn all_missing_keys_are_listed_at_once() {
    let mut one = acme();
    one["key_page"] = json!("https://acme.test/keys");
    let mut two = acme();
    two["api_key_env"] = json!("OTHER_KEY");
    let folder = Folder::new(&[
        ("acme", one.to_string()),
        ("other", two.to_string()),
        ("unused", two.to_string()),
    ]);
    let config = folder.load().unwrap();
    let used = BTreeSet::from(["acme".to_owned(), "other".to_owned()]);
    let environment = BTreeMap::from([("OTHER_KEY".to_owned(), " \n".to_owned())]);
    let error = load_keys(&config, &used, &environment).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingApiKey);
    let text = error.to_string();
    for part in [
        "acme needs",
        "ACME_KEY",
        "other needs",
        "OTHER_KEY",
        "https://acme.test/keys",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("unused"), "{text}");
    let environment = BTreeMap::from([
        ("ACME_KEY".to_owned(), " 1234 \n".to_owned()),
        ("OTHER_KEY".to_owned(), "abc".to_owned()),
    ]);
    let keys = load_keys(&config, &used, &environment).unwrap();
    assert_eq!(
        keys["acme"].as_ref().unwrap().expose(),
        "1234",
        "white space that was copied along is dropped"
    );
}

/// figment's own environment reader takes such a key for a number and prints it in its error.
#[test]
fn a_key_that_looks_like_a_number_is_never_shown() {
    const SECRET: &str = "8675309123456789";
    let hidden = |text: String| assert!(!text.contains(SECRET), "{text}");
    let folder = Folder::acme()
        .variable("ACME_KEY", SECRET)
        .variable("MEDIA_ROOT", SECRET)
        .variable("MEDIA_CONFIG__acme__image__steps", "many");
    let config = folder.load().unwrap();
    hidden(format!("{config:?}"));
    let error = folder.own().unwrap_err();
    hidden(format!("{error:?} {}", error.full()));
    let keys = load_keys(&config, &BTreeSet::from(["acme".to_owned()]), &folder.environment).unwrap();
    hidden(format!("{keys:?}"));
    // Put where the name of the variable belongs.
    let mistaken = Folder::changed("/api_key_env", SECRET.parse::<u64>().unwrap().into());
    let error = mistaken.load().unwrap_err();
    hidden(format!("{error:?} {}", error.full()));
    // Put into the configuration under a name of one's own.
    let mut whole = acme();
    whole["api_key"] = SECRET.parse::<u64>().unwrap().into();
    let error = Folder::new(&[("acme", whole.to_string())]).own().unwrap_err();
    hidden(format!("{error:?} {}", error.full()));
}

#[test]
fn a_section_can_be_made_without_files() {
    let section = Section::from_value("acme", &acme()).unwrap();
    assert!(section.parse::<Own>().is_ok());
    let section = Section::from_value("acme", &json!({"image": {}})).unwrap();
    complains(section.parse::<Own>(), &["the configuration of acme"]);
    complains(
        Section::from_value("acme", &json!([])),
        &["the configuration of acme"],
    );
}
