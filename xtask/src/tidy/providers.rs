//! Every provider crate has the same files, so that who knows one knows all.

use super::{Report, relative};
use crate::metadata::Package;

const FILES: [(&str, &str); 7] = [
    ("lib.rs", "the name and the factory"),
    ("config.rs", "the configuration"),
    ("provider.rs", "the trait implementation"),
    (
        "check.rs",
        "the parameters, and the request as it is sent, refused offline where the service would refuse it",
    ),
    ("wire.rs", "the serde types of the API, nothing else"),
    (
        "map.rs",
        "the pure functions from request to wire and from wire to result",
    ),
    ("error.rs", "the judge: status and body to our error"),
];
const WHY: &str = "who knows one provider crate finds the way in every other";

pub(super) fn check(members: &[Package], report: &mut Report) {
    for package in members
        .iter()
        .filter(|package| package.name.starts_with("provider-"))
    {
        let folder = package.folder();
        for (file, holds) in FILES {
            let path = folder.join("src").join(file);
            if !path.is_file() {
                let what = format!("{} has no src/{file}", package.name);
                report.find(relative(&path), what, WHY, format!("make it; it holds {holds}"));
            }
        }
        if !folder.join("docs.md").is_file() {
            report.find(
                relative(&folder.join("docs.md")),
                format!("{} has no docs.md", package.name),
                WHY,
                "make it; it tells a user what the provider can do, its parameters, limits and prices",
            );
        }
    }
}
