//! The factory: instances from configuration files.

use media_core::config::{Section, Setup};
use media_core::{ApiKey, ErrorKind};
use provider_forvo::FACTORY;
use serde_json::{Value, json};

use crate::support::wiring;

fn section(change: impl FnOnce(&mut Value)) -> Section {
    let mut value: Value = serde_json::from_str(FACTORY.config).unwrap();
    change(&mut value);
    Section::from_value("voices", &value).unwrap()
}

#[test]
fn the_shipped_configuration_makes_an_instance() {
    let setup = Setup {
        section: section(|_| {}),
        key: Some(ApiKey::new("k")),
        wiring: wiring(),
    };
    let provider = (FACTORY.build)(setup).unwrap();
    assert_eq!(
        (provider.info().name.as_str(), provider.info().provider.as_str()),
        ("voices", "forvo")
    );
    (FACTORY.check_config)(&section(|_| {})).unwrap();
}

#[test]
fn mistakes_name_file_and_key() {
    let wrong = section(|value| value["accents"]["es"] = json!([["Mexico"]]));
    let error = (FACTORY.check_config)(&wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .to_string()
            .contains("voices: accents.es: \"Mexico\" is not a country code here"),
        "{error}"
    );
    let unknown = section(|value| value["acents"] = json!({}));
    assert!(
        (FACTORY.check_config)(&unknown)
            .unwrap_err()
            .to_string()
            .contains("acents")
    );
    let missing = section(|value| {
        value.as_object_mut().unwrap().remove("sex");
    });
    assert!(
        (FACTORY.check_config)(&missing)
            .unwrap_err()
            .to_string()
            .contains("sex")
    );
}
