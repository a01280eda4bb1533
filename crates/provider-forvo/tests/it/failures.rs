//! Every documented failure, the calls it costs, and that none of them shows the key.

use media_core::{Charge, Client, Error, ErrorKind};
use mockito::{Server, ServerGuard};
use provider_forvo::Forvo;

use crate::support::*;

/// Asks for "hola" and gives the failure and the calls counted.
async fn failure(server: &ServerGuard) -> (Error, u64) {
    let folder = tempfile::tempdir().unwrap();
    let client = client(server);
    let result = client.generate(word("hola", folder.path())).await;
    let error = result.outcome.unwrap_err();
    assert_eq!(error.charge(), Some(Charge::None));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
    let shown = format!("{error:?} {} {:?}", error.full(), error.next());
    assert!(!shown.contains("0123456789"), "{shown}");
    (error, counted(&client).await)
}

#[tokio::test]
async fn answers_to_a_lookup() {
    let page = format!("<html>Just a moment... /key/{KEY}/format and /key/{KEY_IN_PATH}/format</html>");
    for (status, body, kind, calls) in [
        (
            200,
            r#"{"attributes":{"total":0},"items":[]}"#,
            ErrorKind::NotFound,
            1,
        ),
        (200, "false", ErrorKind::NotFound, 1),
        (
            400,
            r#"["Calling from incorrect domain."]"#,
            ErrorKind::Authentication,
            1,
        ),
        (
            200,
            r#"["Calling from incorrect domain."]"#,
            ErrorKind::Authentication,
            1,
        ),
        (400, r#"["Account disabled."]"#, ErrorKind::PermissionDenied, 1),
        (
            400,
            r#"["Invalid value for parameter language."]"#,
            ErrorKind::InvalidRequest,
            1,
        ),
        (200, r#"{"data":{"items":[]}}"#, ErrorKind::BadResponse, 1),
        (200, "[]", ErrorKind::BadResponse, 1),
        (200, "", ErrorKind::ProviderFault, 1),
        (200, &page, ErrorKind::ProviderFault, 1),
        (403, &page, ErrorKind::PermissionDenied, 1),
        (404, &page, ErrorKind::ProviderFault, 1),
        (414, &page, ErrorKind::InvalidRequest, 1),
        (429, &page, ErrorKind::RateLimited, 3),
        (500, &page, ErrorKind::ProviderFault, 3),
        (503, &page, ErrorKind::ProviderFault, 3),
    ] {
        let mut server = Server::new_async().await;
        let mock = lookup(&mut server, "hola", status, body)
            .expect(calls)
            .create_async()
            .await;
        let (error, counted) = failure(&server).await;
        assert_eq!(error.kind(), kind, "{status} {body}: {error}");
        assert_eq!(counted, calls as u64, "{status} {body}");
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn nothing_found_is_said_in_forvos_terms() {
    let mut server = Server::new_async().await;
    let _mock = lookup(&mut server, "hola", 302, "")
        .with_header("location", "https://forvo.com/404")
        .create_async()
        .await;
    let (error, counted) = failure(&server).await;
    assert_eq!((error.kind(), counted), (ErrorKind::NotFound, 1));
    assert_eq!(error.to_string(), "forvo has no recording of \"hola\" in es");
    assert_eq!(error.next(), Some("change the word or add a provider"));
}

#[tokio::test]
async fn a_spent_quota_spends_the_day_here_too() {
    for status in [400, 200] {
        let mut server = Server::new_async().await;
        let mock = lookup(&mut server, "hola", status, r#"["Limit\/day reached."]"#)
            .expect(1)
            .create_async()
            .await;
        let (error, counted) = failure(&server).await;
        assert_eq!(error.kind(), ErrorKind::QuotaExhausted);
        assert!(error.resets_at().unwrap().to_string().ends_with("T22:00:00Z"));
        assert!(
            counted + 1 >= DAILY,
            "no word is begun any more today: it would need two calls"
        );
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn the_key_stays_out_of_failures_of_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let client = Client::new(forvo(config("http://127.0.0.1:9")));
    let error = client
        .generate(word("hola", folder.path()))
        .await
        .outcome
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let shown = format!("{error:?} {} {client:?}", error.full());
    assert!(!shown.contains("0123456789"), "{shown}");
}

#[tokio::test]
async fn without_a_key_it_checks_and_does_not_send() {
    let folder = tempfile::tempdir().unwrap();
    let forvo = Forvo::with_wiring("voices", config("http://127.0.0.1:9"), None, wiring()).unwrap();
    let client = Client::new(forvo);
    let request = word("hola", folder.path());
    assert!(client.check(&request).is_ok());
    let error = client.generate(request).await.outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingApiKey);
    assert!(error.to_string().starts_with("voices "), "{error}");
}

#[tokio::test]
async fn the_connection_test_tells_a_good_key_from_a_bad_one() {
    let path = format!("/key/{KEY_IN_PATH}/format/json/action/language-popular/limit/1");
    for (status, body, expected) in [
        (
            200,
            r#"{"attributes":{"total":1},"items":[{"code":"en","en":"English"}]}"#,
            None,
        ),
        (
            400,
            r#"["Calling from incorrect domain."]"#,
            Some(ErrorKind::Authentication),
        ),
        (200, "false", Some(ErrorKind::BadResponse)),
    ] {
        let mut server = Server::new_async().await;
        let _mock = server
            .mock("GET", path.as_str())
            .with_status(status)
            .with_body(body)
            .create_async()
            .await;
        let client = client(&server);
        match (client.test_connection().await, expected) {
            (Ok(connection), None) => assert!(connection.notes[1].contains("may count")),
            (Err(error), Some(kind)) => assert_eq!(error.kind(), kind),
            (other, _) => panic!("{other:?}"),
        }
        assert_eq!(counted(&client).await, 1);
    }
}
