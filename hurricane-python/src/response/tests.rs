use std::io::Write;

use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;

/// The response that a frame with these values makes.
fn head(status: &[u8], headers: &[(&[u8], &[u8])]) -> Result<Response<Body>, InvalidHead> {
    let values: Vec<&[u8]> = headers.iter().map(|(_, value)| *value).collect();
    let source = Bytes::from(values.concat());
    let mut rest = &source[..];
    let mut parts = Vec::new();
    for (name, value) in headers {
        let (part, others) = rest.split_at(value.len());
        parts.push((*name, part));
        rest = others;
    }
    response(status, &parts, Body::whole("body"), &source)
}

fn status(status: &[u8]) -> Result<(u16, Option<Vec<u8>>), InvalidHead> {
    head(status, &[]).map(|response| {
        let reason = response.extensions().get::<ReasonPhrase>();
        let reason = reason.map(|reason| reason.as_bytes().to_vec());
        (response.status().as_u16(), reason)
    })
}

fn value(value: &[u8]) -> Result<Vec<u8>, InvalidHead> {
    head(b"200 OK", &[(b"X-Value", value)])
        .map(|response| response.headers()["x-value"].as_bytes().to_vec())
}

fn invalid_status(text: &str) -> InvalidHead {
    InvalidHead::Status(text.to_owned())
}

/// Half of a surrogate pair, as a `str` that holds one comes from Python.
const SURROGATE: &[u8] = b"\xed\xa0\x80";

// === heads ===

#[test]
fn a_usual_status_needs_no_reason_of_its_own() {
    assert_eq!(status(b"200 OK"), Ok((200, None)));
    assert_eq!(status(b"404 Not Found"), Ok((404, None)));
}

#[test]
fn an_unusual_reason_is_sent_as_it_is() {
    assert_eq!(status(b"200 Fine"), Ok((200, Some(b"Fine".to_vec()))));
    assert_eq!(
        status(b"404 not found"),
        Ok((404, Some(b"not found".to_vec())))
    );
    assert_eq!(
        status(b"299 Tab\there"),
        Ok((299, Some(b"Tab\there".to_vec())))
    );
    assert_eq!(status(b"799 Odd"), Ok((799, Some(b"Odd".to_vec()))));
}

#[test]
fn a_status_may_have_no_reason() {
    assert_eq!(status(b"200 "), Ok((200, Some(Vec::new()))));
    assert_eq!(status(b"200"), Ok((200, Some(Vec::new()))));
    assert_eq!(status(b"299"), Ok((299, Some(Vec::new()))));
}

#[test]
fn a_reason_beyond_ascii_is_latin1() {
    let reason = "200 Sch\u{f6}n".as_bytes();
    assert_eq!(status(reason), Ok((200, Some(b"Sch\xf6n".to_vec()))));
}

#[test]
fn a_reason_beyond_latin1_is_refused() {
    assert!(status("200 \u{20ac}".as_bytes()).is_err());
    assert!(status(&[b"200 ", SURROGATE].concat()).is_err());
}

#[test]
fn a_status_that_is_none_is_refused() {
    for text in [
        "",
        "2",
        "20",
        "OK",
        "2xx No",
        "099 Low",
        "2000 Long",
        "200OK",
        " 200 OK",
        "-20 No",
    ] {
        assert_eq!(status(text.as_bytes()), Err(invalid_status(text)));
    }
}

#[test]
fn a_reason_cannot_begin_another_line() {
    for text in [
        "200 OK\r\nX: y",
        "200 OK\n",
        "200 \rOK",
        "200 \0",
        "200 \x7f",
    ] {
        assert_eq!(status(text.as_bytes()), Err(invalid_status(text)));
    }
}

#[test]
fn an_interim_status_is_no_answer() {
    assert_eq!(
        status(b"100 Continue"),
        Err(InvalidHead::Informational(100))
    );
    let switching = status(b"101 Switching Protocols");
    assert_eq!(switching, Err(InvalidHead::Informational(101)));
}

#[test]
fn headers_keep_their_order_and_their_number() {
    let headers: &[(&[u8], &[u8])] = &[
        (b"Set-Cookie", b"a=1"),
        (b"X-Other", b""),
        (b"SET-COOKIE", b"b=2"),
    ];
    let response = head(b"200 OK", headers).unwrap();
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(response.headers()["x-other"], "");
    assert_eq!(response.headers().len(), 3);
}

#[test]
fn the_connection_is_the_servers_business() {
    let names: [&[u8]; 8] = [
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Transfer-Encoding",
        b"Upgrade",
        b"transfer-ENCODING",
    ];
    let headers = names.map(|name| (name, &b"close"[..]));
    assert!(head(b"200 OK", &headers).unwrap().headers().is_empty());
    let close: (&[u8], &[u8]) = (b"X-Connection", b"close");
    assert_eq!(head(b"200 OK", &[close]).unwrap().headers().len(), 1);
}

#[test]
fn a_name_that_is_no_token_is_refused() {
    for name in ["", "a b", "a:", "a\r\nb", "a\0", "n\u{e4}me", "(a)"] {
        let error = head(b"200 OK", &[(name.as_bytes(), b"")]).unwrap_err();
        assert_eq!(error, InvalidHead::Name(name.to_owned()));
    }
}

#[test]
fn values_lose_the_white_space_around_them() {
    assert_eq!(value(b" \ta b \t"), Ok(b"a b".to_vec()));
    assert_eq!(value("  \u{e9} ".as_bytes()), Ok(b"\xe9".to_vec()));
    assert_eq!(value(b""), Ok(Vec::new()));
}

#[test]
fn values_beyond_ascii_are_latin1() {
    assert_eq!(value("caf\u{e9}".as_bytes()), Ok(b"caf\xe9".to_vec()));
    assert_eq!(value("\u{80}\u{ff}".as_bytes()), Ok(b"\x80\xff".to_vec()));
}

#[test]
fn values_that_http_does_not_allow_are_refused() {
    let euro = "\u{20ac}".as_bytes();
    let refused: [&[u8]; 8] = [
        b"a\r\nX: y",
        b"a\nb",
        b"a\rb",
        b"a\0b",
        b"a\x7fb",
        "\u{e9}\nX: y".as_bytes(),
        euro,
        SURROGATE,
    ];
    for text in refused {
        let error = InvalidHead::Value {
            name: "x-value".to_owned(),
            value: String::from_utf8_lossy(text).into_owned(),
        };
        assert_eq!(value(text), Err(error));
    }
}

proptest! {
    #[test]
    fn no_text_of_the_application_makes_another_line(
        reason in any::<Vec<u8>>(),
        name in any::<Vec<u8>>(),
        value in any::<Vec<u8>>(),
    ) {
        let status = [b"200 ", &reason[..]].concat();
        let responses = [
            head(&status, &[]),
            head(b"200 OK", &[(&name, b"")]),
            head(b"200 OK", &[(b"X-Value", &value)]),
        ];
        for response in responses.into_iter().flatten() {
            let lines = response.headers().iter().flat_map(|(name, value)| [name.as_ref(), value.as_bytes()]);
            let reason = response.extensions().get::<ReasonPhrase>();
            for line in lines.chain(reason.map(ReasonPhrase::as_bytes)) {
                prop_assert!(!line.iter().any(|byte| b"\r\n\0".contains(byte)));
            }
        }
    }

    #[test]
    fn latin1_text_goes_out_as_its_bytes(text in "[!-~\u{a0}-\u{ff}]*") {
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        prop_assert_eq!(value(text.as_bytes()), Ok(bytes));
    }
}

#[test]
fn a_response_of_the_servers_own_is_plain_text() {
    let response = plain(StatusCode::BAD_GATEWAY, "Bad Gateway\n");
    assert_eq!(response.status(), 502);
    let kind = &response.headers()[header::CONTENT_TYPE];
    assert_eq!(kind, "text/plain; charset=utf-8");
}

// === bodies ===

/// What comes of a body, frame by frame, and how it ends.
async fn frames(mut body: Body) -> (Vec<Bytes>, Option<BodyError>) {
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frames.push(frame.into_data().unwrap()),
            Err(error) => {
                assert!(body.frame().await.is_none(), "nothing follows an error");
                return (frames, Some(error));
            }
        }
    }
    assert!(http_body::Body::is_end_stream(&body));
    (frames, None)
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn exact(body: &Body) -> Option<u64> {
    http_body::Body::size_hint(body).exact()
}

#[tokio::test]
async fn a_whole_body_comes_at_once() {
    let body = Body::whole("text");
    assert_eq!(exact(&body), Some(4));
    assert!(!http_body::Body::is_end_stream(&body));
    let (frames, error) = frames(body).await;
    assert_eq!(frames, ["text"]);
    assert!(error.is_none());
}

#[tokio::test]
async fn an_empty_body_has_ended() {
    let body = Body::whole("");
    assert_eq!(exact(&body), Some(0));
    assert!(http_body::Body::is_end_stream(&body));
    assert!(frames(body).await.0.is_empty());
}

#[tokio::test]
async fn a_stream_comes_in_its_pieces() {
    let (sender, body) = Body::stream();
    assert_eq!(exact(&body), None);
    let (found, ()) = tokio::join!(frames(body), async move {
        for data in ["a", "b", "c", "d"] {
            sender.send(Piece::Data(data.into())).await.unwrap();
        }
        sender.send(Piece::End).await.unwrap();
    });
    assert_eq!(found.0, ["a", "b", "c", "d"]);
    assert!(found.1.is_none());
}

#[tokio::test]
async fn a_stream_waits_for_its_client() {
    let (sender, mut body) = Body::stream();
    for _ in 0..PIECES {
        sender.try_send(Piece::Data("x".into())).unwrap();
    }
    assert!(sender.try_send(Piece::End).is_err());
    body.frame().await.unwrap().unwrap();
    sender.try_send(Piece::End).unwrap();
}

#[tokio::test]
async fn a_stream_whose_sender_goes_is_aborted() {
    let (sender, body) = Body::stream();
    sender.send(Piece::Data("half".into())).await.unwrap();
    drop(sender);
    let (frames, error) = frames(body).await;
    assert_eq!(frames, ["half"]);
    assert!(matches!(error, Some(BodyError::Aborted)));
}

#[tokio::test]
async fn a_stream_whose_client_goes_takes_no_more() {
    let (sender, body) = Body::stream();
    drop(body);
    assert!(sender.send(Piece::End).await.is_err());
}

/// What a client gets of a body that goes on with part of a file.
async fn sent(file: File, offset: u64, length: u64) -> (Vec<Bytes>, Option<BodyError>) {
    let (sender, body) = Body::stream();
    let piece = Piece::File {
        file,
        offset,
        length,
    };
    sender.send(Piece::Data("before".into())).await.unwrap();
    sender.send(piece).await.unwrap();
    drop(sender);
    let (mut frames, error) = frames(body).await;
    assert_eq!(frames.remove(0), "before");
    (frames, error)
}

#[tokio::test]
async fn a_file_is_sent_from_where_it_is_to_begin() {
    let (frames, error) = sent(file(b"0123456789"), 3, 5).await;
    assert_eq!(frames, ["34567"]);
    assert!(error.is_none());
}

#[tokio::test]
async fn a_large_file_is_sent_in_blocks() {
    let content: Vec<u8> = (0_u8..251).cycle().take(2 * FILE_BLOCK + 1).collect();
    let (frames, error) = sent(file(&content), 0, content.len() as u64).await;
    let sizes: Vec<_> = frames.iter().map(Bytes::len).collect();
    assert_eq!(sizes, [FILE_BLOCK, FILE_BLOCK, 1]);
    assert!(frames.concat() == content);
    assert!(error.is_none());
}

#[tokio::test]
async fn nothing_of_a_file_is_nothing() {
    let (frames, error) = sent(file(b"0123"), 4, 0).await;
    assert!(frames.is_empty() && error.is_none());
}

#[tokio::test]
async fn a_file_that_has_become_shorter_ends_the_body_early() {
    let (frames, error) = sent(file(b"0123"), 2, 5).await;
    assert_eq!(frames, ["23"]);
    let Some(BodyError::File(error)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_sent_ends_the_body_early() {
    let file = file(&vec![1; 2 * FILE_BLOCK]);
    let (sender, mut body) = Body::stream();
    let piece = Piece::File {
        file: file.try_clone().unwrap(),
        offset: 0,
        length: 2 * FILE_BLOCK as u64,
    };
    sender.send(piece).await.unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!(exact(&body), Some(FILE_BLOCK as u64));
    file.set_len(1).unwrap();
    let (frames, error) = frames(body).await;
    assert!(frames.is_empty());
    assert!(matches!(error, Some(BodyError::File(_))));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_ends_the_body_early() {
    let folder = File::open(std::env::temp_dir()).unwrap();
    let (frames, error) = sent(folder, 0, 5).await;
    assert!(frames.is_empty());
    assert!(matches!(error, Some(BodyError::File(_))));
}
