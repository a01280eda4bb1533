//! Links to recordings: dead ones are looked up once more, for the same recording, and what is no sound is never kept.

use media_core::{Client, ErrorKind, Order};
use mockito::Server;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;

#[tokio::test]
async fn a_quota_spent_in_between_is_told_by_the_body_of_the_recording() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[item(&server, 1, "perro", "Mexico", "a", 5)]);
    let lookup = lookup(&mut server, "perro", 200, &answer)
        .expect(1)
        .create_async()
        .await;
    let audio = server
        .mock("GET", "/audio/1")
        .with_header("content-type", "application/json")
        .with_body(r#"["Limit\/day reached."]"#)
        .expect(1)
        .create_async()
        .await;
    let client = client(&server);
    let error = client
        .generate(word("perro", folder.path()))
        .await
        .outcome
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExhausted);
    assert!(error.resets_at().is_some());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(counted(&client).await, DAILY);
    lookup.assert_async().await;
    audio.assert_async().await;
}

#[tokio::test]
async fn a_dead_link_is_looked_up_once_more_and_no_further() {
    for (status, body) in [
        (404, "<html>gone</html>"),
        (403, "<html>Just a moment...</html>"),
        (200, "false"),
    ] {
        let mut server = Server::new_async().await;
        let folder = tempfile::tempdir().unwrap();
        let answer = items(&[item(&server, 1, "perro", "Mexico", "a", 5)]);
        let lookup = lookup(&mut server, "perro", 200, &answer)
            .expect(2)
            .create_async()
            .await;
        let audio = server
            .mock("GET", "/audio/1")
            .with_status(status)
            .with_body(body)
            .expect(2)
            .create_async()
            .await;
        let client = client(&server);
        let error = client
            .generate(word("perro", folder.path()))
            .await
            .outcome
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProviderFault, "{error}");
        assert!(error.to_string().contains("the link gave no sound"), "{error}");
        assert_eq!(counted(&client).await, 4);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        lookup.assert_async().await;
        audio.assert_async().await;
    }
}

/// A server on which the first link is dead, and where a better recording has come in between.
async fn changing(server: &mut mockito::ServerGuard) -> Vec<mockito::Mock> {
    let first = items(&[item(server, 7, "perro", "Mexico", "a", 5)]);
    let fresh = item(server, 7, "perro", "Mexico", "a", 5).replace("audio\\/7", "audio\\/fresh");
    let then = items(&[item(server, 6, "perro", "Mexico", "b", 50), fresh]);
    let asked = AtomicUsize::new(0);
    let lookup = server
        .mock("GET", lookup_path("perro", "es").as_str())
        .with_body_from_request(move |_| {
            let before = asked.fetch_add(1, Ordering::SeqCst);
            if before == 0 {
                first.clone().into()
            } else {
                then.clone().into()
            }
        })
        .expect(2)
        .create_async()
        .await;
    let dead = server
        .mock("GET", "/audio/7")
        .with_status(404)
        .expect(1)
        .create_async()
        .await;
    let fresh = audio(server, "fresh").expect(1).create_async().await;
    let better = audio(server, "6").expect(0).create_async().await;
    vec![lookup, dead, fresh, better]
}

#[tokio::test]
async fn the_fresh_link_leads_to_the_same_recording() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let mocks = changing(&mut server).await;
    let client = client(&server);
    let result = client.generate(word("perro", folder.path())).await;
    assert!(result.outcome.is_ok(), "{:?}", result.outcome);
    assert_eq!(
        result.provenance.remote_id.as_deref(),
        Some("7"),
        "the credit is of the recording"
    );
    assert_eq!(counted(&client).await, 4);
    for mock in mocks {
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn a_link_of_an_earlier_run_still_knows_its_recording() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[
        item(&server, 6, "perro", "Mexico", "b", 50),
        item(&server, 7, "perro", "Mexico", "a", 5),
    ]);
    let _lookup = lookup(&mut server, "perro", 200, &answer)
        .expect(1)
        .create_async()
        .await;
    let _dead = server
        .mock("GET", "/audio/old")
        .with_status(404)
        .expect(1)
        .create_async()
        .await;
    let chosen = audio(&mut server, "7").expect(1).create_async().await;
    let client: Client = client(&server);
    let link = format!("{}/audio/old#forvo-7", server.url());
    let mut order = Order::new(0, word("perro", folder.path()));
    order.prior = media_core::Prior::Linked {
        link: media_core::Link::new(link.parse().unwrap()).counted_in("audio"),
        facts: Box::default(),
    };
    let (send, orders) = tokio::sync::mpsc::channel(1);
    send.send(order).await.unwrap();
    drop(send);
    let delivery = client.run(orders).recv().await.unwrap();
    assert!(delivery.result.outcome.is_ok(), "{:?}", delivery.result.outcome);
    chosen.assert_async().await;
}

#[tokio::test]
async fn half_a_recording_is_no_file() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[item(&server, 1, "perro", "Mexico", "a", 5)]);
    let _lookup = lookup(&mut server, "perro", 200, &answer).create_async().await;
    let half = MP3.get(..MP3.len() / 2 + 7).unwrap();
    let _audio = server
        .mock("GET", "/audio/1")
        .with_body(half)
        .create_async()
        .await;
    let error = client(&server)
        .generate(word("perro", folder.path()))
        .await
        .outcome
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidMedia, "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The recording is there and broken: asking for it again would spend the day's calls on the same bytes.
#[tokio::test]
async fn a_broken_recording_costs_its_two_calls() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[item(&server, 1, "perro", "Mexico", "a", 5)]);
    let lookup = lookup(&mut server, "perro", 200, &answer)
        .expect(1)
        .create_async()
        .await;
    let cut = &MP3[..MP3.len() - 50];
    let audio = server
        .mock("GET", "/audio/1")
        .with_body(cut)
        .expect(1)
        .create_async()
        .await;
    let client = client(&server);
    let error = client
        .generate(word("perro", folder.path()))
        .await
        .outcome
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidMedia, "{error}");
    assert_eq!(counted(&client).await, 2);
    lookup.assert_async().await;
    audio.assert_async().await;
}

/// A key that is refused at the link is refused at a lookup too.
#[tokio::test]
async fn a_key_refused_at_the_link_is_not_looked_up_again() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    let answer = items(&[item(&server, 1, "perro", "Mexico", "a", 5)]);
    let lookup = lookup(&mut server, "perro", 200, &answer)
        .expect(1)
        .create_async()
        .await;
    let audio = server
        .mock("GET", "/audio/1")
        .with_status(400)
        .with_body("\u{feff}[\"Calling from incorrect domain.\"]")
        .expect(1)
        .create_async()
        .await;
    let error = client(&server)
        .generate(word("perro", folder.path()))
        .await
        .outcome
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    lookup.assert_async().await;
    audio.assert_async().await;
}

/// There is a recording; that its link cannot be followed is no reason to buy it elsewhere.
#[tokio::test]
async fn a_link_that_leads_nowhere_safe_is_not_a_word_without_recordings() {
    let mut server = Server::new_async().await;
    let folder = tempfile::tempdir().unwrap();
    for link in ["/audio/1", "http://elsewhere.test/1.mp3", "ftp://h/1.mp3"] {
        let own = format!("{}/audio/1", server.url()).replace('/', "\\/");
        let answer = items(&[item(&server, 1, "perro", "Mexico", "a", 5)]);
        let answer = answer.replace(&format!("{own}ogg"), "").replace(&own, link);
        let mock = lookup(&mut server, "perro", 200, &answer).create_async().await;
        let error = client(&server)
            .generate(word("perro", folder.path()))
            .await
            .outcome
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadResponse, "{link}: {error}");
        mock.remove_async().await;
    }
}
