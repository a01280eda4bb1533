//! Which recording is taken, how the word travels, and what is said about the file.

use media_core::{
    Attempt, Client, ErrorKind, Format, Generated, Job, MediaKind, MediaProvider, MediaRequest, Prior,
    RequestHash, Result,
};
use mockito::Server;
use provider_forvo::Sex;

use crate::support::*;

#[tokio::test]
async fn a_word_becomes_a_file_with_its_credit_for_two_calls() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[
        item(&server, 3, "perro", "Spain", "pablo", 40),
        item(&server, 2, "perro", "Colombia", "maria", 1),
        item(&server, 1, "perra", "Mexico", "nuria", 99),
    ]);
    let lookup = lookup(&mut server, "perro", 200, &answer)
        .expect(1)
        .create_async()
        .await;
    let audio = audio(&mut server, "2").expect(1).create_async().await;
    let client = client(&server);
    let result = client.generate(word("perro", folder.path())).await;
    let file = result.outcome.unwrap();
    assert_eq!(std::fs::read(&file.path).unwrap(), MP3);
    assert_eq!(file.format, Format::Mp3);
    let about = result.provenance;
    assert_eq!(about.remote_id.as_deref(), Some("2"));
    assert_eq!(
        about.credit.as_deref(),
        Some("Pronunciation by maria (Colombia) on Forvo, https://forvo.com/word/perro/")
    );
    assert!(about.licence.unwrap().contains("non-commercial"));
    assert!(about.warnings.is_empty(), "{:?}", about.warnings);
    assert_eq!(counted(&client).await, 2);
    lookup.assert_async().await;
    audio.assert_async().await;
}

#[tokio::test]
async fn blanks_and_accents_are_encoded_as_one_segment() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[item(&server, 1, "El Niño", "Mexico", "maria", 1)]);
    let lookup = lookup(&mut server, "el%20ni%C3%B1o", 200, &answer)
        .create_async()
        .await;
    let _audio = audio(&mut server, "1").create_async().await;
    // Decomposed, with a zero-width blank.
    let result = client(&server)
        .generate(word("el nin\u{303}o\u{200b}", folder.path()))
        .await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    assert_eq!(result.provenance.warnings, ["it is recorded as \"El Niño\""]);
    lookup.assert_async().await;
}

#[tokio::test]
async fn a_near_match_is_never_taken() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[
        item(&server, 1, "sabana", "Mexico", "maria", 9),
        item(&server, 2, "sabana", "Spain", "pablo", 8),
    ]);
    let _lookup = lookup(&mut server, "s%C3%A1bana", 200, &answer)
        .create_async()
        .await;
    let audio = audio(&mut server, "1").expect(0).create_async().await;
    let client = client(&server);
    let error = client
        .generate(word("sábana", folder.path()))
        .await
        .outcome
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        "forvo has no recording of \"sábana\" in es, only 2 recordings of similar words: \"sabana\""
    );
    assert!(error.next().is_some());
    assert_eq!(counted(&client).await, 1, "the second call was not used");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    audio.assert_async().await;
}

#[tokio::test]
async fn a_region_is_a_rule_and_its_absence_is_explained() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[
        item(&server, 1, "pomos", "Brazil", "a", 9),
        item(&server, 2, "pomos", "", "b", 9),
        item(&server, 3, "pomos", "Brazil", "c", 9),
    ])
    .replace("\"code\":\"es\"", "\"code\":\"pt\"");
    let _lookup = server
        .mock("GET", lookup_path("pomos", "pt").as_str())
        .with_body(answer)
        .expect(2)
        .create_async()
        .await;
    let _audio = audio(&mut server, "1").create_async().await;
    let client = client(&server);
    let request = word("pomos", folder.path()).language("pt-PT");
    let error = client.generate(request.clone()).await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        "forvo has no recording of \"pomos\" in pt from PT, with a rate of -1 or more, as mp3; it has them from \
         Brazil (2), an unknown country (1)"
    );
    let wider = request.param("country", "PT;*");
    assert!(client.generate(wider).await.outcome.is_ok());
}

#[tokio::test]
async fn each_variant_is_another_recording_and_an_id_is_one() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[
        item(&server, 7, "perro", "Mexico", "a", 5),
        item(&server, 8, "perro", "Mexico", "b", 4),
        item(&server, 9, "perro", "Spain", "c", 90),
    ]);
    let lookup = lookup(&mut server, "perro", 200, &answer).create_async().await;
    for token in ["7", "8", "9"] {
        audio(&mut server, token).create_async().await;
    }
    let client = client(&server);
    let at = |name: &str| MediaRequest::audio("perro", folder.path().join(name)).language("es");
    for (request, id) in [
        (at("1.mp3"), "7"),
        (at("2.mp3").variant(2), "8"),
        (at("3.mp3").variant(3), "9"),
        (at("id.mp3").param("id", 8), "8"),
        (at("speaker.mp3").param("speaker", "x, B"), "8"),
        (at("country.mp3").param("country", "ES"), "9"),
    ] {
        let result = client.generate(request).await;
        assert!(result.outcome.is_ok(), "{:?}", result.outcome);
        assert_eq!(result.provenance.remote_id.as_deref(), Some(id));
    }
    let other = client.generate(at("x.mp3").param("speaker", "zoe")).await;
    assert_eq!(
        other.provenance.warnings,
        ["it is spoken by \"a\", not by \"zoe\""]
    );
    for (request, expected) in [
        (at("4.mp3").variant(4), "only 3 fit"),
        (at("5.mp3").param("id", 1), "with the id 1"),
        (at("6.mp3").param("sex", "m"), "by a man"),
        (at("7.mp3").param("minimum_rate", 91), "91 or more"),
    ] {
        let error = client.generate(request).await.outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(expected), "{error}");
    }
    lookup.expect(11).assert_async().await;
}

/// Jobs as a lane makes them: file name, word, variant.
fn jobs(
    provider: &provider_forvo::Forvo,
    folder: &std::path::Path,
    wanted: &[(&str, &str, u32)],
) -> (Vec<Job>, Vec<tokio::sync::oneshot::Receiver<Result<Generated>>>) {
    let job = |(name, word, variant): &(&str, &str, u32)| {
        let request = MediaRequest::audio(*word, folder.join(name))
            .language("es")
            .variant(*variant);
        let resolved = provider.check(&request).unwrap();
        let attempt = Attempt {
            job: request.id.clone(),
            request: RequestHash::of("forvo", &request, &resolved),
            take: 1,
            number: 1,
        };
        Job::new(request.into(), resolved.into(), "p", attempt, Prior::Fresh)
    };
    wanted.iter().map(job).unzip()
}

#[tokio::test]
async fn equal_words_of_a_batch_are_looked_up_once() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[
        item(&server, 7, "perro", "Mexico", "a", 5),
        item(&server, 8, "perro", "Mexico", "b", 4),
    ]);
    let lookup = lookup(&mut server, "perro", 200, &answer)
        .expect(1)
        .create_async()
        .await;
    let provider = forvo(config(&server.url()));
    let wanted = [
        ("1.mp3", "perro", 1),
        ("2.ogg", "perro", 2),
        ("3.mp3", "perro", 3),
    ];
    let (jobs, answers) = jobs(&provider, folder.path(), &wanted);
    provider.generate_batch(&jobs).await;
    let mut ids = Vec::new();
    for answer in answers {
        let answer = answer.await.unwrap();
        ids.push(
            answer
                .map(|generated| generated.facts.remote_id.unwrap())
                .map_err(|error| error.kind()),
        );
    }
    assert_eq!(
        ids,
        [Ok("7".to_owned()), Ok("8".to_owned()), Err(ErrorKind::NotFound)]
    );
    lookup.assert_async().await;
}

#[tokio::test]
async fn a_bad_key_is_tried_once_per_batch() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let any = server
        .mock("GET", mockito::Matcher::Any)
        .with_status(400)
        .with_body(r#"["Calling from incorrect domain."]"#)
        .expect(1)
        .create_async()
        .await;
    let provider = forvo(config(&server.url()));
    let (jobs, answers) = jobs(
        &provider,
        folder.path(),
        &[("1.mp3", "uno", 1), ("2.mp3", "dos", 1)],
    );
    provider.generate_batch(&jobs).await;
    for answer in answers {
        assert_eq!(
            answer.await.unwrap().unwrap_err().kind(),
            ErrorKind::Authentication
        );
    }
    any.assert_async().await;
}

#[tokio::test]
async fn ogg_is_another_link_and_the_next_candidate_serves_if_one_has_none() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let without = item(&server, 1, "sol", "Mexico", "a", 9).replace("pathogg", "other");
    let answer = items(&[without.clone(), item(&server, 2, "sol", "Mexico", "b", 1)]);
    let _one = lookup(&mut server, "sol", 200, &answer).create_async().await;
    let _two = lookup(&mut server, "mar", 200, &items(&[without.replace("sol", "mar")]))
        .create_async()
        .await;
    let _audio = server
        .mock("GET", "/audio/2ogg")
        .with_body(OGG)
        .create_async()
        .await;
    let client = client(&server);
    let request =
        |word: &str| MediaRequest::audio(word, folder.path().join(format!("{word}.ogg"))).language("es");
    let file = client.generate(request("sol")).await.outcome.unwrap();
    assert_eq!(file.format, Format::Ogg);
    let error = client.generate(request("mar")).await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("as ogg"), "{error}");
}

#[tokio::test]
async fn a_library_user_sees_all_recordings_in_our_order() {
    let mut server = Server::new_async().await;
    let answer = items(&[
        item(&server, 1, "perro", "Spain", "a", 9),
        item(&server, 2, "perro", "Korea, Republic of", "b", -3),
        item(&server, 3, "perro", "Mexico", "c", 0),
        item(&server, 4, "perrо", "Mexico", "cyrillic", 0),
    ]);
    let lookup = lookup(&mut server, "perro", 200, &answer)
        .expect(1)
        .create_async()
        .await;
    let _none = lookup_none(&mut server).await;
    let forvo = forvo(config(&server.url()));
    let all = forvo.pronunciations("perro", "es").await.unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|one| (one.id.unwrap(), one.country_code.as_deref().unwrap(), one.fits))
        .collect();
    assert_eq!(seen, [(3, "MX", true), (1, "ES", true), (2, "KR", false)]);
    assert_eq!(
        (all[1].rate, all[1].votes, all[1].positive_votes, all[1].sex),
        (9, 9, 9, Sex::Female)
    );
    assert!(all[0].link.as_ref().unwrap().url.path().ends_with("/audio/3"));
    assert!(!format!("{all:?}").contains("/audio/"), "links hold tokens");
    assert!(forvo.pronunciations("nada", "es").await.unwrap().is_empty());
    lookup.assert_async().await;
}

async fn lookup_none(server: &mut mockito::ServerGuard) -> mockito::Mock {
    lookup(server, "nada", 200, "false").create_async().await
}

#[tokio::test]
async fn what_forvo_would_refuse_is_refused_before_any_call() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(forvo(config("http://127.0.0.1:9")));
    let good = word("perro", folder.path());
    let resolved = client.check(&good).unwrap();
    assert_eq!(
        (resolved.model.as_str(), resolved.group.as_str(), resolved.calls),
        ("forvo", "audio", 2)
    );
    assert_eq!(resolved.language.as_deref(), Some("es"));
    for name in ["country", "speaker", "sex", "minimum_rate", "candidates"] {
        assert!(resolved.params.contains_key(name), "{name}");
    }
    let mut picture = good.clone();
    picture.kind = MediaKind::Image;
    let mut silent = good.clone();
    silent.language = None;
    let mut wav = good.clone();
    wav.output_path = folder.path().join("a.wav");
    for (request, kind) in [
        (picture, ErrorKind::Unsupported),
        (wav, ErrorKind::Unsupported),
        (silent, ErrorKind::InvalidRequest),
        (good.clone().language("klingonese"), ErrorKind::InvalidRequest),
        (word("a/b", folder.path()), ErrorKind::InvalidRequest),
        (word("%", folder.path()), ErrorKind::InvalidRequest),
        (word("..", folder.path()), ErrorKind::InvalidRequest),
        (word(&"a".repeat(101), folder.path()), ErrorKind::InvalidRequest),
        (good.clone().param("voice", "x"), ErrorKind::InvalidRequest),
        (good.clone().param("id", 3).variant(2), ErrorKind::InvalidRequest),
        (good.clone().variant(0), ErrorKind::InvalidRequest),
    ] {
        let error = client.check(&request).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(counted(&client).await, 0);
}
