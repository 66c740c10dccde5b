use std::{fs, path::Path, time::Duration};

use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tower::{ServiceExt as _, service_fn};

use super::{
    hashed::Hashed,
    mount::{Kind, Mounts},
    *,
};

const STYLE: &str = "body { color: red }";

/// A folder with files in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("base.css", STYLE);
    write("base.0123456789ab.css", STYLE);
    write("all.js", "plain");
    for encoding in ["br", "zst", "gz"] {
        write(&format!("all.js.{encoding}"), encoding);
    }
    write("picture.png", "PNG");
    write("LICENSE", "MIT");
    write("big.bin", &"0123456789".repeat(50_000));
    folder
}

/// Its files below `/static/` and, as media, `/media/`, before an application.
fn files(
    folder: &Path,
) -> impl Service<
    Request<()>,
    Response = Response<Either<FileBody, Full<Bytes>>>,
    Error = Infallible,
    Future: Send,
> + Clone {
    let mut mounts = Mounts::new(None);
    for (prefix, kind) in [
        ("/static/", Kind::Static(Hashed::ByName)),
        ("/media/", Kind::Media),
    ] {
        let root = Some(folder.to_owned());
        mounts
            .add(prefix.to_owned(), root, kind, Duration::from_secs(60))
            .unwrap();
    }
    let app = service_fn(|_| async { Ok(Response::new(Full::from("application"))) });
    Files::new(Arc::new(OnceLock::from(mounts)), app)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(folder: &Path, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = files(folder)
        .oneshot(request.body(()).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

async fn get(folder: &Path, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(folder, Method::GET, path, headers).await
}

#[tokio::test]
async fn what_is_no_file_is_the_applications() {
    let folder = folder();
    for path in ["/", "/static", "/statics/base.css"] {
        let answer = get(folder.path(), path, &[]).await;
        assert_eq!(answer.body, "application", "{path}");
    }
    let none = Files::new(
        Arc::default(),
        service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }),
    );
    let request = Request::get("/static/base.css").body(()).unwrap();
    let response = none.oneshot(request).await.unwrap();
    assert!(matches!(response.into_body(), Either::Right(_)));
}

#[tokio::test]
async fn a_file_has_its_type_its_age_and_how_long_it_may_be_kept() {
    let folder = folder();
    for (path, kind, kept) in [
        (
            "/static/base.css",
            "text/css; charset=utf-8",
            "public, max-age=60",
        ),
        (
            "/static/base.0123456789ab.css",
            "text/css; charset=utf-8",
            "public, max-age=31536000, immutable",
        ),
        (
            "/media/base.0123456789ab.css",
            "text/css; charset=utf-8",
            "public, max-age=60",
        ),
        (
            "/static/all.js",
            "text/javascript; charset=utf-8",
            "public, max-age=60",
        ),
        ("/static/picture.png", "image/png", "public, max-age=60"),
        (
            "/static/LICENSE",
            "application/octet-stream",
            "public, max-age=60",
        ),
    ] {
        let answer = get(folder.path(), path, &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header(header::CONTENT_TYPE), kind, "{path}");
        assert_eq!(answer.header(header::CACHE_CONTROL), kept, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        let length = answer.body.len().to_string();
        assert_eq!(answer.header(header::CONTENT_LENGTH), length, "{path}");
        let tag = answer.header(header::ETAG);
        assert!(tag.starts_with('"'), "{path}: {tag:?}");
        assert!(!answer.header(header::LAST_MODIFIED).is_empty(), "{path}");
        let head = ask(folder.path(), Method::HEAD, path, &[]).await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(head.headers, answer.headers, "{path}");
    }
}

#[tokio::test]
async fn other_methods_than_get_and_head_are_refused() {
    let folder = folder();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = ask(folder.path(), method, "/static/base.css", &[]).await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header(header::ALLOW), "GET, HEAD");
    }
}

#[tokio::test]
async fn what_the_client_has_already_is_not_sent_again() {
    let folder = folder();
    let path = "/static/base.0123456789ab.css";
    let first = get(folder.path(), path, &[]).await;
    let (tag, date) = (
        first.header(header::ETAG),
        first.header(header::LAST_MODIFIED),
    );
    let weak = format!("\"other\", W/{tag}");
    let old = "Mon, 01 Jan 2001 00:00:00 GMT";
    for (headers, status) in [
        (&[("if-none-match", tag)][..], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-modified-since", date)], 304),
        (&[("if-modified-since", old)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        // The tag goes before the date.
        (
            &[("if-none-match", "\"other\""), ("if-modified-since", date)],
            200,
        ),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-match", tag)], 200),
        (&[("if-unmodified-since", old)], 412),
    ] {
        let answer = get(folder.path(), path, headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 304 {
            assert_eq!(answer.body, "");
            // What a cache keeps by (RFC 9110 section 15.4.5).
            for name in ["etag", "cache-control", "vary"] {
                assert_eq!(answer.header(name), first.header(name), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_part_of_a_file_can_be_asked_for() {
    let folder = folder();
    let path = "/static/big.bin";
    let whole = get(folder.path(), path, &[]).await;
    assert_eq!(whole.body.len(), 500_000);
    let tag = whole.header(header::ETAG);
    let date = whole.header(header::LAST_MODIFIED);
    for (headers, status, body) in [
        (&[("range", "bytes=3-6")][..], 206, "3456"),
        (&[("range", "bytes=499998-")], 206, "89"),
        (&[("range", "bytes=499998-900000")], 206, "89"),
        (&[("range", "bytes=-3")], 206, "789"),
        (&[("range", "bytes=500000-")], 416, ""),
        // Not understood, and therefore ignored.
        (&[("range", "lines=3-6")], 200, &whole.body),
        (&[("range", "bytes=1-2,4-5")], 200, &whole.body),
        (&[("range", "bytes=3-6"), ("if-range", tag)], 206, "3456"),
        (&[("range", "bytes=3-6"), ("if-range", date)], 206, "3456"),
        (
            &[("range", "bytes=3-6"), ("if-range", "\"other\"")],
            200,
            &whole.body,
        ),
        (
            &[
                ("range", "bytes=3-6"),
                ("if-range", "Mon, 01 Jan 2001 00:00:00 GMT"),
            ],
            200,
            &whole.body,
        ),
        (&[("range", "bytes=3-6"), ("if-none-match", tag)], 304, ""),
    ] {
        let answer = get(folder.path(), path, headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert!(
            answer.body == body,
            "{headers:?}: {} bytes",
            answer.body.len()
        );
    }
    let part = get(folder.path(), path, &[("range", "bytes=3-6")]).await;
    assert_eq!(part.header(header::CONTENT_RANGE), "bytes 3-6/500000");
    assert_eq!(part.header(header::CONTENT_LENGTH), "4");
    let none = get(folder.path(), path, &[("range", "bytes=500000-")]).await;
    assert_eq!(none.header(header::CONTENT_RANGE), "bytes */500000");
    let head = ask(folder.path(), Method::HEAD, path, &[("range", "bytes=3-6")]).await;
    assert_eq!(head.status, 200);
}

#[tokio::test]
async fn compressed_files_are_sent_to_who_takes_them() {
    let folder = folder();
    for (accepts, encoding) in [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0.1, gzip;q=0.9", "gzip"),
        ("br;q=0, gzip;q=0", ""),
        ("gzip;q=0.5, identity;q=1", ""),
        ("deflate", ""),
        ("", ""),
    ] {
        let headers = [("accept-encoding", accepts)];
        let answer = get(folder.path(), "/static/all.js", &headers).await;
        assert_eq!(
            answer.header(header::CONTENT_ENCODING),
            encoding,
            "{accepts}"
        );
        let body = match encoding {
            "" => "plain",
            "zstd" => "zst",
            "gzip" => "gz",
            other => other,
        };
        assert_eq!(answer.body, body, "{accepts}");
        assert_eq!(answer.header(header::VARY), "accept-encoding", "{accepts}");
        assert!(
            answer
                .header(header::CONTENT_TYPE)
                .starts_with("text/javascript")
        );
        let head = ask(folder.path(), Method::HEAD, "/static/all.js", &headers).await;
        assert_eq!(head.headers, answer.headers, "{accepts}");
        // What users uploaded is another file, whatever it is called.
        let media = get(folder.path(), "/media/all.js", &headers).await;
        assert_eq!(media.body, "plain", "{accepts}");
        // There is no compressed one.
        let alone = get(folder.path(), "/static/base.css", &headers).await;
        assert_eq!(alone.body, STYLE, "{accepts}");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_has_no_files() {
    let folder = folder();
    let gone = folder.path().join("gone");
    let answer = get(&gone, "/static/base.css", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (404, "Not Found\n")
    );
    fs::create_dir(&gone).unwrap();
    fs::write(gone.join("base.css"), STYLE).unwrap();
    let answer = get(&gone, "/static/base.css", &[]).await;
    assert_eq!(answer.status, 200, "it came later");
}
