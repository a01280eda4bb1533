//! Files: whole and under their name, or not there at all.

use base64::Engine as _;
use media_core::http::{Scripted, Sent};
use media_core::{Charge, ErrorKind, MediaRequest, Size};
use sha2::{Digest, Sha256};

use crate::support::{Lab, Mode, failure, files_below, large_png, link, png, wav};

fn hash(bytes: &[u8]) -> String {
    media_core::hex(&Sha256::digest(bytes))
}

fn media(bytes: Vec<u8>) -> Lab {
    Lab::new(Mode::Media, move |_| Scripted::new(200, bytes.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_file_is_what_came() {
    for bytes in [png(), large_png()] {
        for folder in [false, true] {
            let mut lab = media(bytes.clone());
            if folder {
                lab.staging_folder();
            }
            let result = lab.generate(lab.image("a/b/dog.png")).await;
            let file = result.outcome.unwrap();
            assert_eq!(
                file.path,
                lab.path("a/b/dog.png"),
                "folders that are missing are made"
            );
            let stands = std::fs::read(&file.path).unwrap();
            assert_eq!((stands.len() as u64, hash(&stands)), (file.bytes, file.sha256));
            assert_eq!(stands, bytes);
            assert_eq!(lab.files(), ["a/b/dog.png"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn base64_becomes_the_same_file() {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(large_png());
    let lab = Lab::script(
        Mode::Base64,
        vec![Scripted::new(200, format!("{{\"b64\": \"{text}\"}}"))],
    );
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(result.outcome.unwrap().sha256, hash(&large_png()));
    assert_eq!(lab.files(), ["dog.png"]);
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_file_can_be_read_by_whom_the_umask_allows() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = media(png());
    std::fs::write(lab.path("usual"), "").unwrap();
    lab.generate(lab.image("dog.png")).await.outcome.unwrap();
    let mode = |name: &str| std::fs::metadata(lab.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(format!("{:o}", mode("dog.png")), format!("{:o}", mode("usual")));
}

#[tokio::test(start_paused = true)]
async fn what_stands_there_is_neither_replaced_nor_bought() {
    let lab = media(png());
    std::fs::write(lab.path("dog.png"), "mine").unwrap();
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::Storage, Charge::None));
    assert!(lab.sent().is_empty());
    assert_eq!(std::fs::read(lab.path("dog.png")).unwrap(), b"mine");
    assert_eq!(lab.files(), ["dog.png"]);
}

/// A lab in which a file appears under the name while the answer is on its way.
fn intruded() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dog.png");
    let mut lab = Lab::new(Mode::Media, move |_| {
        std::fs::write(&path, "mine").unwrap();
        Scripted::new(200, png())
    });
    lab.dir = dir;
    lab
}

#[tokio::test(start_paused = true)]
async fn what_appears_meanwhile_is_not_replaced() {
    let lab = intruded();
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::Storage, Charge::Certain));
    assert_eq!(std::fs::read(lab.path("dog.png")).unwrap(), b"mine");
    assert_eq!(lab.files(), ["dog.png"]);
}

#[tokio::test(start_paused = true)]
async fn paid_bytes_that_got_no_name_are_kept() {
    let mut lab = intruded();
    let folder = lab.staging_folder();
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::Storage, Charge::Certain));
    let kept = files_below(&folder);
    assert!(
        kept.iter()
            .any(|name| std::fs::read(folder.join(name)).unwrap() == png()),
        "what was paid for is gone: {kept:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_leaves_nothing() {
    for answer in [
        Scripted::new(200, large_png()).cut(),
        Scripted::new(200, large_png()[..100_000].to_vec()),
        Scripted::new(200, png()[..50].to_vec()),
        Scripted::new(200, [large_png(), b"<html>".to_vec()].concat()),
        Scripted::new(200, "<html>no</html>"),
        Scripted::new(200, ""),
        Scripted::new(500, large_png()),
        Scripted::new(400, "no"),
        Scripted::fails(Sent::Maybe),
    ] {
        for mode in [Mode::Media, Mode::Base64, Mode::Link, Mode::Word] {
            let answer = answer.clone();
            let shown = format!("{mode:?}: {:?}", answer.answer.as_ref().map(|answer| answer.0));
            let lab = Lab::new(mode, move |request| match (mode, request.uri().path()) {
                (Mode::Link | Mode::Word, path) if path != "/one.png" => link(),
                _ => answer.clone(),
            });
            let result = lab.generate(lab.image("dog.png")).await;
            assert!(result.outcome.is_err(), "{shown}");
            assert!(lab.files().is_empty(), "{shown}: {:?}", lab.files());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_format_is_refused_even_if_it_is_sound() {
    for (bytes, name) in [(wav(false), "dog.png"), (png(), "dog.jpg")] {
        let lab = media(bytes);
        let result = lab.generate(lab.image(name)).await;
        assert_eq!(failure(&result), (ErrorKind::InvalidMedia, Charge::Certain));
        let said = result.outcome.unwrap_err().to_string();
        assert!(said.contains("was asked for"), "{said}");
        assert!(lab.files().is_empty());
        assert_eq!(lab.sent().len(), 1, "it was paid for and is not bought again");
    }
}

#[tokio::test(start_paused = true)]
async fn paid_bytes_that_fail_are_kept_with_the_reason() {
    let cut = large_png()[..100_000].to_vec();
    let billed = (ErrorKind::InvalidMedia, Charge::Certain);
    for (bytes, name, why, fails) in [
        (cut, "dog.png", "ends before", billed),
        (wav(false), "dog.png", "was asked for", billed),
        // What a text says about money nobody can tell.
        (
            b"<html>sorry</html>".to_vec(),
            "dog.png",
            "a text came where media was due",
            (ErrorKind::BadResponse, Charge::Unknown),
        ),
    ] {
        let mut lab = media(bytes.clone());
        let folder = lab.staging_folder();
        let result = lab.generate(lab.image(name)).await;
        assert_eq!(failure(&result), fails);
        let key = lab.keys()[0].clone();
        assert_eq!(
            files_below(&folder),
            [format!("rejected/{key}"), format!("rejected/{key}.txt")]
        );
        assert_eq!(std::fs::read(folder.join("rejected").join(&key)).unwrap(), bytes);
        let reason = std::fs::read_to_string(folder.join("rejected").join(format!("{key}.txt"))).unwrap();
        assert!(reason.contains(why), "{reason}");
    }
}

/// The picture came, and then the answer broke: it is not dropped with the answer.
#[tokio::test(start_paused = true)]
async fn a_picture_whose_answer_is_no_good_is_kept() {
    let encoded = base64::engine::general_purpose::STANDARD.encode(png());
    let cut = Scripted::new(200, format!("{{\"b64\":\"{encoded}\",\"usage\":{{\"to")).cut();
    let unfinished = Scripted::new(200, format!("{{\"b64\":\"{encoded}\""));
    for answer in [cut, unfinished] {
        let mut lab = Lab::script(Mode::Base64, vec![answer]);
        let folder = lab.staging_folder();
        let result = lab.generate(lab.image("dog.png")).await;
        assert_eq!(failure(&result).1, Charge::Unknown);
        let key = lab.keys()[0].clone();
        assert_eq!(std::fs::read(folder.join("rejected").join(&key)).unwrap(), png());
        let error = result.outcome.unwrap_err();
        assert!(error.next().unwrap().contains("is kept as"), "{error}");
    }
}

/// A picture whose structure is whole and whose pixels are not.
#[cfg(feature = "decode-image")]
fn undecodable_png() -> Vec<u8> {
    let mut bytes = large_png();
    let data = bytes.windows(4).position(|name| name == b"IDAT").unwrap();
    let length = u32::from_be_bytes(bytes[data - 4..data].try_into().unwrap()) as usize;
    bytes[data + 4..data + 4 + length].fill(0xff);
    let sum = crc32fast::hash(&bytes[data..data + 4 + length]);
    bytes[data + 4 + length..data + 8 + length].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[cfg(feature = "decode-image")]
#[tokio::test(start_paused = true)]
async fn paid_bytes_that_cannot_be_decoded_are_kept_too() {
    let mut lab = media(undecodable_png());
    let folder = lab.staging_folder();
    let result = lab
        .client()
        .checking(media_core::CheckLevel::Full)
        .generate(lab.image("dog.png"))
        .await;
    assert_eq!(failure(&result), (ErrorKind::InvalidMedia, Charge::Certain));
    let key = lab.keys()[0].clone();
    assert_eq!(
        files_below(&folder),
        [format!("rejected/{key}"), format!("rejected/{key}.txt")]
    );
    assert!(!lab.path("dog.png").exists());
}

#[cfg(feature = "decode-image")]
#[tokio::test(start_paused = true)]
async fn only_the_full_check_decodes() {
    let lab = media(undecodable_png());
    assert!(lab.generate(lab.image("dog.png")).await.outcome.is_ok());
    let lab = media(large_png());
    let result = lab
        .client()
        .checking(media_core::CheckLevel::Full)
        .generate(lab.image("dog.png"))
        .await;
    assert!(result.outcome.is_ok(), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn free_bytes_that_fail_are_not_kept() {
    let mut lab = Lab::new(Mode::Word, |request| match request.uri().path() {
        "/one.png" => Scripted::new(200, wav(false)),
        _ => link(),
    });
    lab.staging_folder();
    let result = lab.generate(lab.image("dog.png")).await;
    assert_eq!(failure(&result), (ErrorKind::InvalidMedia, Charge::None));
    assert!(lab.files().is_empty(), "{:?}", lab.files());
}

#[tokio::test(start_paused = true)]
async fn too_large_is_too_large() {
    let size = large_png().len() as u64;
    for (most, fits) in [(size, true), (size - 1, false)] {
        let mut lab = media(large_png());
        lab.wiring.sizes.media = Size(most);
        let result = lab.generate(lab.image("dog.png")).await;
        assert_eq!(result.outcome.is_ok(), fits, "{result:?}");
        if !fits {
            assert_eq!(failure(&result).0, ErrorKind::InvalidMedia);
            assert_ne!(failure(&result).1, Charge::None);
            assert!(lab.files().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mended_recording_is_hashed_as_it_stands() {
    let lab = media(wav(true));
    let result = lab
        .generate(MediaRequest::audio("woof", lab.path("dog.wav")))
        .await;
    let file = result.outcome.unwrap();
    let stands = std::fs::read(&file.path).unwrap();
    assert_eq!(stands, wav(false), "the header now tells the truth");
    assert_eq!((file.sha256, file.bytes), (hash(&stands), stands.len() as u64));
    assert_eq!(file.duration.unwrap().as_secs(), 1);
    let Some((_, media_core::Event::Have { sha256, .. })) = lab.journal.events().into_iter().rev().nth(1)
    else {
        panic!("{:?}", lab.journal.names())
    };
    assert_eq!(sha256, hash(&stands), "the journal knows the file as it stands");
}

#[tokio::test(start_paused = true)]
async fn where_no_file_can_be_made_nothing_is_bought() {
    let lab = media(png());
    std::fs::write(lab.path("folder"), "a file").unwrap();
    std::fs::create_dir(lab.path("is.png")).unwrap();
    for name in ["folder/dog.png", "folder/deeper/dog.png", "is.png"] {
        let result = lab.generate(lab.image(name)).await;
        assert_eq!(failure(&result), (ErrorKind::Storage, Charge::None), "{name}");
    }
    assert!(lab.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_request_is_said_before_anything_is_sent() {
    let lab = media(png());
    let cases = [
        (
            MediaRequest::image("a dog", lab.path("dog")),
            ErrorKind::InvalidRequest,
        ),
        (
            MediaRequest::image("a dog", lab.path("dog.bmp")),
            ErrorKind::Unsupported,
        ),
        (
            MediaRequest::image("a dog", lab.path("dog.webp")),
            ErrorKind::Unsupported,
        ),
        (
            MediaRequest::image("a dog", lab.path("dog.wav")),
            ErrorKind::Unsupported,
        ),
        (
            MediaRequest::image(" \n", lab.path("dog.png")),
            ErrorKind::InvalidRequest,
        ),
        (
            MediaRequest::image("a dog", lab.path("dog.png")).param("colour", "red"),
            ErrorKind::InvalidRequest,
        ),
    ];
    for (request, kind) in cases {
        let result = lab.generate(request.clone()).await;
        assert_eq!(failure(&result), (kind, Charge::None), "{request:?}");
        assert_eq!((result.attempts, result.cost.unwrap().usd.micros()), (0, 0));
    }
    assert!(lab.sent().is_empty());
    assert!(lab.files().is_empty());
}
