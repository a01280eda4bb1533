//! Codes, classes and what they say about money.

use super::*;
use http::{HeaderMap, HeaderValue, StatusCode};
use media_core::{Charge, Retry};

/// Every code of the reference, with its class.
#[test]
fn codes_of_the_reference() {
    let table: [(Class, &[&str]); 14] = [
        (
            Class::Credit,
            &[
                "insufficientCredits",
                "videoInferenceInsufficientCredits",
                "quotaExceeded",
                "paymentRequired",
            ],
        ),
        (
            Class::Partner,
            &["thirdPartyInsufficientCredits", "providerInsufficientCredits"],
        ),
        (
            Class::Pace,
            &[
                "rateLimitExceeded",
                "inferenceRateLimitExceeded",
                "providerRateLimitExceeded",
            ],
        ),
        (
            Class::Content,
            &[
                "contentPolicyViolation",
                "providerContentPolicyViolation",
                "sensitiveContentDetected",
                "unsafeContentDetected",
                "nsfwContentDetected",
                "promptBlocked",
                "imageBlocked",
                "moderationFailed",
                "invalidProviderContent",
            ],
        ),
        (
            Class::Key,
            &[
                "invalidApiKey",
                "missingApiKey",
                "unauthorized",
                "authenticationFailed",
                "tokenExpired",
            ],
        ),
        (
            Class::Permission,
            &[
                "forbidden",
                "permissionDenied",
                "insufficientPermissions",
                "accountSuspended",
                "workspaceDisabled",
            ],
        ),
        (
            Class::Timeout,
            &["timeout", "timeoutProvider", "requestTimeout", "providerTimeout"],
        ),
        (Class::Model, &["modelNotFound"]),
        (Class::NotFound, &["mediaNotFound"]),
        (Class::UnknownTask, &["taskNotFound"]),
        (
            Class::Gone,
            &["resultExpired", "taskCancelled", "taskFailedOrNotFound"],
        ),
        (
            Class::Server,
            &[
                "internalServerError",
                "serviceUnavailable",
                "serverUnavailable",
                "standardError",
                "unknownError",
                "undefinedError",
                "defaultError",
                "unrecognizedResponse",
                "errorRetrievingAccountManagement",
            ],
        ),
        (
            Class::Provider,
            &[
                "providerError",
                "providerUnavailable",
                "providerBadGateway",
                "providerInternalError",
                "inferenceError",
                "processingFailed",
                "taskFailed",
                "downloadFailed",
                "uploadFailed",
                "noAvailableServer",
                "modelUnavailable",
                "modelDisabled",
                "modelNotReady",
            ],
        ),
        (
            Class::Request,
            &[
                "invalidPositivePrompt",
                "invalidPositivePromptLength",
                "invalidModel",
                "missingPositivePrompt",
                "missingDimensionParameters",
                "unsupportedDuration",
                "unsupportedParameter",
                "unsupportedTaskType",
                "unknownParameter",
                "valueTooLarge",
                "incompatibleParameters",
                "maxTasksExceeded",
            ],
        ),
    ];
    for (class, codes) in table {
        for code in codes {
            assert_eq!(Class::of(code), class, "{code}");
        }
    }
    assert_eq!(Class::of("conflictTaskUUID"), Class::Conflict);
    assert_eq!(Class::of("somethingNew"), Class::Other);
}

fn task_error(code: &str) -> TaskError {
    TaskError {
        code: Some(code.into()),
        message: Some("Words.".into()),
        ..TaskError::default()
    }
}

#[test]
fn what_an_error_of_a_task_says_about_money() {
    let charge = |code| task_error(code).of_task(RESULT_OP).charge();
    for code in [
        "providerError",
        "timeoutProvider",
        "insufficientCredits",
        "rateLimitExceeded",
        "newCode",
    ] {
        assert_eq!(charge(code), Some(Charge::None), "{code}");
    }
    for code in [
        "resultExpired",
        "taskNotFound",
        "conflictTaskUUID",
        "requestTimeout",
    ] {
        assert_eq!(charge(code), None, "{code}");
    }
    let billed = TaskError {
        cost: Some(0.0006),
        ..task_error("timeoutProvider")
    };
    assert_eq!(billed.of_task(RESULT_OP).charge(), Some(Charge::Certain));
    assert_eq!(
        task_error("timeoutProvider").of_task(RESULT_OP).retry(),
        Retry::Later
    );
    assert_eq!(
        task_error("invalidModel").of_task(RESULT_OP).retry(),
        Retry::Never
    );
}

#[test]
fn a_complaint_about_a_poll_is_not_the_fate_of_the_task() {
    let said = |code| TaskError {
        status: Some("Error".into()),
        ..task_error(code)
    };
    for code in [
        "rateLimitExceeded",
        "internalServerError",
        "invalidApiKey",
        "requestTimeout",
    ] {
        assert!(!task_error(code).is_final(), "{code}");
        assert!(said(code).is_final(), "{code}");
    }
    for code in [
        "rateLimitExceeded",
        "conflictTaskUUID",
        "requestTimeout",
        "taskNotFound",
    ] {
        assert!(!task_error(code).is_final_in_archive(), "{code}");
    }
    for code in [
        "timeoutProvider",
        "providerError",
        "providerRateLimitExceeded",
        "internalServerError",
        "invalidPositivePrompt",
        "newCode",
    ] {
        assert!(task_error(code).is_final_in_archive(), "{code}");
    }
    assert!(!said("taskNotFound").is_final());
    assert!(task_error("providerError").is_final());
    assert!(task_error("timeoutProvider").is_final());
    assert!(!task_error("invalidTaskUUID").is_final());
}

#[test]
fn messages_are_for_people() {
    let error = TaskError {
        parameter: vec!["width".into(), "height".into()],
        allowed: vec![512.into(), 1024.into()],
        ..task_error("invalidDimensions")
    };
    assert_eq!(
        error.of_task(IMAGE_OP).to_string(),
        "image generation: the service refused the request: Words. (parameter width, height) (allowed: 512, 1024)"
    );
    assert_eq!(
        TaskError::default().of_task(RESULT_OP).to_string(),
        "result: the service reported an error"
    );
}

fn judge(op: &'static str, status: u16, body: &str) -> Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("7"));
    let status = StatusCode::from_u16(status).unwrap();
    RunwareJudge.judge(&Reply {
        status,
        headers: &headers,
        body: body.as_bytes(),
        op,
    })
}

#[test]
fn answers_about_single_tasks_are_left_to_the_provider_whatever_the_status() {
    for status in [200, 400, 402, 500] {
        assert!(
            judge(
                IMAGE_OP,
                status,
                r#"{"data":[{"taskUUID":"a"}],"errors":[{"code":"x"}]}"#
            )
            .is_ok()
        );
        let one = r#"{"data":[],"errors":[{"code":"insufficientCredits","taskUUID":"a"}]}"#;
        assert!(judge(IMAGE_OP, status, one).is_ok());
    }
    assert!(judge(IMAGE_OP, 200, r#"{"data":[]}"#).is_ok());
}

/// The catalogue of codes changes: of one that is not known, or only by how it begins, the status says more.
#[test]
fn a_failure_of_the_moment_under_an_unknown_code_is_one() {
    let body = |code: &str| format!(r#"{{"data":[],"errors":[{{"code":"{code}","taskUUID":"a"}}]}}"#);
    let of = |status, code| {
        let error = judge(IMAGE_OP, status, &body(code)).unwrap_err();
        (error.kind(), error.charge(), error.retry())
    };
    let free = Some(Charge::None);
    assert_eq!(
        of(429, "queueCapacityExceeded"),
        (ErrorKind::RateLimited, free, Retry::Later)
    );
    assert_eq!(
        of(504, "maxQueueWaitPassed"),
        (ErrorKind::ProviderFault, None, Retry::Later)
    );
    assert_eq!(
        of(500, "brandNew"),
        (ErrorKind::ProviderFault, None, Retry::Later)
    );
    // One task of several may be at fault: that is settled task by task.
    assert!(judge(IMAGE_OP, 400, &body("brandNew")).is_ok());
    // That a question was not answered says nothing of the task, unless it says so itself.
    assert!(judge(RESULT_OP, 500, &body("brandNew")).is_err());
    let said = r#"{"errors":[{"code":"brandNew","taskUUID":"a","status":"error"}]}"#;
    assert!(judge(RESULT_OP, 500, said).is_ok());
}

#[test]
fn all_tasks_turned_away_for_pace_is_one_refusal_that_may_go_again() {
    let body = r#"{"data":[],"errors":[{"code":"inferenceRateLimitExceeded","taskUUID":"a"},{"code":"rateLimitExceeded","taskUUID":"b"}]}"#;
    let error = judge(IMAGE_OP, 429, body).unwrap_err();
    assert_eq!(
        (error.kind(), error.charge()),
        (ErrorKind::RateLimited, Some(Charge::None))
    );
    assert_eq!(error.retry(), Retry::Later);
    assert_eq!(error.retry_after().unwrap().as_secs(), 7);
    // In the answer to a poll the same words may be the fate of a task.
    assert!(judge(RESULT_OP, 200, body).is_ok());
    let mixed = body.replacen("rateLimitExceeded", "invalidModel", 1);
    assert!(judge(IMAGE_OP, 400, &mixed).is_ok());
}

#[test]
fn errors_of_the_whole_request() {
    let whole = |status, code: &str| {
        let body =
            format!(r#"{{"errors":[{{"code":"{code}","message":"Words.","taskType":"authentication"}}]}}"#);
        let error = judge(IMAGE_OP, status, &body).unwrap_err();
        (error.kind(), error.charge(), error.retry() == Retry::Later)
    };
    let none = Some(Charge::None);
    assert_eq!(
        whole(401, "invalidApiKey"),
        (ErrorKind::Authentication, none, false)
    );
    assert_eq!(
        whole(402, "insufficientCredits"),
        (ErrorKind::InsufficientCredit, none, false)
    );
    assert_eq!(
        whole(400, "thirdPartyInsufficientCredits"),
        (ErrorKind::PermissionDenied, none, false)
    );
    assert_eq!(
        whole(429, "rateLimitExceeded"),
        (ErrorKind::RateLimited, none, true)
    );
    assert_eq!(
        whole(503, "serviceUnavailable"),
        (ErrorKind::ProviderFault, none, true)
    );
    assert_eq!(
        whole(500, "internalServerError"),
        (ErrorKind::ProviderFault, None, true)
    );
    assert_eq!(whole(504, "timeoutProvider"), (ErrorKind::Timeout, None, true));
    assert_eq!(
        whole(200, "internalServerError"),
        (ErrorKind::ProviderFault, None, true)
    );
    assert_eq!(whole(429, "brandNew"), (ErrorKind::RateLimited, none, true));
    assert_eq!(whole(500, "brandNew"), (ErrorKind::ProviderFault, None, true));
    assert_eq!(whole(200, "brandNew"), (ErrorKind::ProviderFault, None, false));
}

#[test]
fn gateways_are_judged_by_status() {
    let html = judge(IMAGE_OP, 502, "<html>Bad Gateway</html>").unwrap_err();
    assert_eq!(
        (html.kind(), html.charge(), html.retry()),
        (ErrorKind::ProviderFault, None, Retry::Later)
    );
    assert_eq!(judge(IMAGE_OP, 503, "").unwrap_err().charge(), None);
    assert_eq!(
        judge(IMAGE_OP, 403, r#"{"message":"Forbidden"}"#)
            .unwrap_err()
            .charge(),
        Some(Charge::None)
    );
    let page = judge(IMAGE_OP, 200, "<html>").unwrap_err();
    assert_eq!(
        (page.kind(), page.charge(), page.retry()),
        (ErrorKind::BadResponse, None, Retry::Later)
    );
}

/// A refusal bills nothing, but a cut envelope may hold results: under a 4xx it must not pass for a refusal.
#[test]
fn a_cut_envelope_says_nothing_about_money() {
    let error = judge(
        IMAGE_OP,
        400,
        r#"{"data":[{"taskUUID":"a","imageBase64Data":"iVBOR"#,
    )
    .unwrap_err();
    assert_eq!((error.charge(), error.retry()), (None, Retry::Later));
}
