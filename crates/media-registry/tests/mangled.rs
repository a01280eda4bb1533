//! Configurations with one value that is not as it should be: each is understood, or refused by the name of its file.

use media_core::ErrorKind;
use media_core::config::{Config, Sources};
use media_registry::Registry;
use media_testkit::Mangled;

/// Enough of each file: the tables of languages and countries hold thousands of values of one sort.
const MOST: usize = 600;

#[test]
fn every_value_of_a_shipped_file_may_be_wrong_and_none_is_believed_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let providers = folder.path().join("providers");
    std::fs::create_dir(&providers).unwrap();
    std::fs::write(folder.path().join("media.json"), "{}").unwrap();
    for factory in Registry::built_in().factories() {
        let shipped = factory.config.as_bytes();
        let file = providers.join(format!("{}.json", factory.name));
        let check = || {
            let sources = Sources {
                dir: Some(folder.path().to_owned()),
                ..Sources::default()
            };
            (factory.check_config)(Config::load(&sources)?.provider(factory.name)?)
        };
        std::fs::write(&file, shipped).unwrap();
        check().unwrap();
        let all: Vec<_> = Mangled::all(shipped).collect();
        let mut refused = 0;
        for change in all.iter().step_by(all.len().div_ceil(MOST)) {
            std::fs::write(&file, change.of(shipped)).unwrap();
            if let Err(error) = check() {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Config, "{change}: {error}");
                let said = error.full();
                assert!(
                    said.contains(&format!("{}.json", factory.name)),
                    "{change}: {said}"
                );
            }
        }
        assert!(refused > 50, "{} of {}: {refused}", factory.name, all.len());
        std::fs::remove_file(&file).unwrap();
    }
}
