//! The licences of everything that is compiled, and crates that must not be.

use super::{Report, spdx};
use crate::metadata::{Metadata, Package};

const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Accepted for the crates whose name begins so: used unchanged as libraries, MPL asks for nothing more.
const ACCEPTED_FOR: &[(&str, &str)] = &[("symphonia", "MPL-2.0")];

struct Ban {
    name: &'static str,
    /// Whether this version is meant.
    version: fn(&str) -> bool,
    why: &'static str,
    instead: &'static str,
}

const BANNED: &[Ban] = &[
    Ban {
        name: "openssl-sys",
        version: |_| true,
        why: "it links to a library of the machine; TLS is rustls",
        instead: "the rustls feature of whoever asks for it",
    },
    Ban {
        name: "serde_yaml",
        version: |_| true,
        why: "it is deprecated",
        instead: "JSON",
    },
    Ban {
        name: "reqwest",
        version: |version| before(version, 0, 13),
        why: "two HTTP stacks in one program, the older without fixes",
        instead: "reqwest 0.13, or a crate that uses it",
    },
];

pub(super) fn check(metadata: &Metadata, report: &mut Report) {
    for package in metadata.foreign.iter().chain(&metadata.members) {
        let place = format!("{} {}", package.name, package.version);
        let ask = format!(
            "`cargo tree --workspace --all-features -i {}` shows who asks for it",
            package.name
        );
        if let Some(what) = fault(package) {
            let why = "everything that is shipped has to be free to ship under our licences";
            let mend = format!(
                "{ask}; do without, or accept the licence in xtask/src/tidy/licences.rs after reading it"
            );
            report.find(place.as_str(), what, why, mend);
        }
        for ban in BANNED
            .iter()
            .filter(|ban| ban.name == package.name && (ban.version)(&package.version))
        {
            report.find(
                place.as_str(),
                "is not to be used",
                ban.why,
                format!("{}; {ask}", ban.instead),
            );
        }
    }
}

fn fault(package: &Package) -> Option<String> {
    let Some(expression) = &package.license else {
        // What is never shipped needs no licence.
        return package
            .publishable
            .then(|| String::from("has no licence expression"));
    };
    let accepts = |licence: &str| {
        let here = |(name, extra): &(&str, &str)| package.name.starts_with(name) && licence == *extra;
        ACCEPTED.contains(&licence) || ACCEPTED_FOR.iter().any(here)
    };
    match spdx::is_satisfied(expression, &accepts) {
        Ok(true) => None,
        Ok(false) => Some(format!(
            "its licence {expression:?} is not among the accepted ones"
        )),
        Err(error) => Some(format!(
            "its licence {expression:?} cannot be understood: {error:#}"
        )),
    }
}

fn before(version: &str, major: u64, minor: u64) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under(name: &str, license: Option<&str>) -> Option<String> {
        let license = license.map(String::from);
        fault(&Package {
            name: name.into(),
            license,
            publishable: true,
            ..Package::default()
        })
    }

    #[test]
    fn expressions_that_were_met() {
        let met = [
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "ISC AND (Apache-2.0 OR ISC) AND Apache-2.0 AND MIT AND BSD-3-Clause AND (Apache-2.0 OR ISC OR MIT-0)",
            "Unlicense/MIT",
            "Apache-2.0 / MIT",
        ];
        for license in met {
            assert_eq!(under("some", Some(license)), None);
        }
    }

    #[test]
    fn others_are_found() {
        for license in [
            "GPL-3.0-only",
            "MIT AND GPL-2.0-or-later",
            "ISC AND OpenSSL",
            "MIT OR",
            "",
        ] {
            assert!(under("some", Some(license)).is_some(), "{license:?}");
        }
        assert!(under("some", None).is_some());
    }

    #[test]
    fn mpl_is_for_symphonia_alone() {
        assert_eq!(under("symphonia-bundle-mp3", Some("MPL-2.0")), None);
        assert!(under("some", Some("MPL-2.0")).is_some());
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(before("0.12.28", 0, 13));
        assert!(!before("0.13.0", 0, 13));
        assert!(!before("1.2.0", 0, 13));
    }
}
