//! The suite accepts a sound provider, and finds each flaw of an unsound one.

#[cfg(test)]
mod acme;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use media_core::MediaRequest;
    use media_testkit::{Case, Cases, Exchange, Finding, conformance, findings, media};
    use serde_json::json;

    use crate::acme::{Acme, BASE, Flaw, KEY};

    fn cases() -> Cases {
        let file = || {
            Exchange::get("/1.png")
                .on("https://cdn.test")
                .answers(200, media::png())
        };
        let found = json!({"url": "https://cdn.test/1.png"});
        Cases::new(BASE, KEY)
            .plays(
                Case::new("a link", MediaRequest::image("a dog", "dog.png"))
                    .with(
                        Exchange::post("/v1/make")
                            .buys()
                            .has_header("authorization", format!("Bearer {KEY}"))
                            .asks(json!({"prompt": "a dog", "key": "*"}))
                            .answers_json(200, json!({"id": "7"})),
                    )
                    .with(Exchange::get("/v1/poll/7").answers_json(200, found))
                    .with(file()),
            )
            .plays(
                Case::new(
                    "bytes",
                    MediaRequest::image("bytes", "dog.png").param("style", "flat"),
                )
                .with(
                    Exchange::post("/v1/bytes")
                        .buys()
                        .has_query("style", "flat")
                        .answers(200, media::png()),
                ),
            )
            .connects(Exchange::get("/v1/me").answers_json(200, json!({})))
            .refuses(
                "an empty style",
                MediaRequest::image("a dog", "dog.png").param("style", ""),
            )
    }

    async fn found(flaw: Flaw) -> Vec<Finding> {
        findings(|wiring| Arc::new(Acme::new(wiring, flaw)), &cases()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_sound_provider_conforms() {
        conformance(|wiring| Arc::new(Acme::new(wiring, Flaw::None)), &cases()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn every_flaw_is_found() {
        for (flaw, rule) in [
            (Flaw::IgnoresParams, "it ignores an unknown parameter"),
            (Flaw::AcceptsAnything, "it accepts what it should refuse"),
            (Flaw::DependsOnPath, "the check is not the same every time"),
            (
                Flaw::BuysInSecret,
                "a purchase is not in the journal before it is sent",
            ),
            (Flaw::PaysForQuestions, "it sends as a purchase what is none"),
            (Flaw::ShowsKey, "its Debug output shows the key"),
            (Flaw::SendsKeyAway, "the key goes to another host"),
            (Flaw::CallsItFree, "a purchase that was answered is called free"),
            (
                Flaw::BuysAgain,
                "it buys again while the first purchase may have been billed",
            ),
            (Flaw::WrongFlags, "its description contradicts itself"),
            (Flaw::MisreadsStatus, "a plain failure is misunderstood"),
            (Flaw::SkipsTheQuestion, "it never makes a call that is recorded"),
            (Flaw::TestBuys, "the connection test buys"),
        ] {
            let found = found(flaw).await;
            assert!(
                found.iter().any(|finding| finding.rule == rule),
                "{flaw:?}: {found:#?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "- it ignores an unknown parameter: ")]
    async fn what_is_found_is_shown() {
        conformance(
            |wiring| Arc::new(Acme::new(wiring, Flaw::IgnoresParams)),
            &cases(),
        )
        .await;
    }
}
