use std::collections::BTreeMap;

use http::{Request, request::Builder};
use proptest::prelude::*;

use super::*;
use crate::frame::prepared::Repeats;

/// A request tuple's fields between the stream id and the body, as the worker finds them.
#[derive(Debug, PartialEq, Eq)]
struct Environ {
    method: String,
    path: String,
    query: String,
    protocol: String,
    address: String,
    port: String,
    variables: BTreeMap<String, String>,
}

/// Reads what Python's `marshal.loads` would, text alone.
struct Loader<'a>(&'a [u8]);

impl<'a> Loader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn length(&mut self) -> usize {
        u32::from_le_bytes(self.take(4).try_into().unwrap()) as usize
    }

    fn text(&mut self) -> String {
        let length = match self.take(1)[0] {
            b'z' => usize::from(self.take(1)[0]),
            b'a' | b'u' => self.length(),
            code => panic!("{code} is not the code of a text"),
        };
        String::from_utf8(self.take(length).to_vec()).unwrap()
    }

    fn environ(mut self) -> Environ {
        let [method, path, query, protocol, address, port] = std::array::from_fn(|_| self.text());
        assert_eq!(self.take(1), b"{");
        let mut variables = BTreeMap::new();
        while self.0[0] != b'0' {
            let (name, value) = (self.text(), self.text());
            assert_eq!(variables.insert(name, value), None, "a name comes once");
        }
        assert_eq!(self.0, b"0");
        Environ {
            method,
            path,
            query,
            protocol,
            address,
            port,
            variables,
        }
    }
}

fn load(request: Builder, client: Option<&str>, root_path: &str, length: Option<u64>) -> Environ {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let client = client.map(|client| client.parse().unwrap());
    let mut out = Vec::new();
    let environ = environ(&parts, client, root_path, length);
    Writer::new(&mut out).prepared(&environ, &mut Repeats::default());
    Loader(&out).environ()
}

fn get(uri: &str) -> Environ {
    load(Request::get(uri), None, "", None)
}

fn mounted(root_path: &str, uri: &str) -> String {
    load(Request::get(uri), None, root_path, None).path
}

fn variables(headers: &[(&str, &[u8])]) -> BTreeMap<String, String> {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    load(request, None, "", None).variables
}

fn expected(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect()
}

#[test]
fn a_request_becomes_an_environment() {
    let request = Request::post("/polls/?page=2&q=a%20b")
        .header("Host", "example.org")
        .header("Content-Type", "text/plain")
        .header("X-Request-Id", "7");
    let environ = load(request, Some("192.0.2.1:40000"), "", Some(12));
    let wanted = Environ {
        method: "POST".to_owned(),
        path: "/polls/".to_owned(),
        query: "page=2&q=a%20b".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        address: "192.0.2.1".to_owned(),
        port: "40000".to_owned(),
        variables: expected(&[
            ("CONTENT_LENGTH", "12"),
            ("CONTENT_TYPE", "text/plain"),
            ("HTTP_HOST", "example.org"),
            ("HTTP_X_REQUEST_ID", "7"),
        ]),
    };
    assert_eq!(environ, wanted);
}

#[test]
fn a_request_may_have_next_to_nothing() {
    let environ = get("/");
    assert_eq!(environ.path, "/");
    assert_eq!(environ.query, "");
    assert_eq!(environ.variables, BTreeMap::new());
}

#[test]
fn the_head_holds_the_stream() {
    let mut out = Vec::new();
    head(&mut Writer::new(&mut out), 0x0102_0304);
    assert_eq!(out, [b')', 9, b'i', 4, 3, 2, 1]);
}

#[test]
fn the_path_is_decoded_into_characters_of_one_byte() {
    assert_eq!(get("/a%20b%2Fc").path, "/a b/c");
    assert_eq!(get("/%C3%A4").path, "/\u{c3}\u{a4}", "the bytes of UTF-8");
    assert_eq!(get("/%ff%00").path, "/\u{ff}\0");
    assert_eq!(get("/100%").path, "/100%", "no escape");
    assert_eq!(get("/%zz%2").path, "/%zz%2", "no escapes either");
    assert_eq!(get("/%2541").path, "/%41", "decoded once");
    assert_eq!(get("/a//b/../c").path, "/a//b/../c", "not made tidy");
}

#[test]
fn the_query_stays_encoded() {
    assert_eq!(get("/?q=%C3%A4+b").query, "q=%C3%A4+b");
    assert_eq!(get("/?").query, "");
    assert_eq!(get("/?a?b").query, "a?b");
}

#[test]
fn the_root_path_is_taken_off() {
    assert_eq!(mounted("/app", "/app/polls/"), "/polls/");
    assert_eq!(mounted("/app", "/app"), "");
    assert_eq!(mounted("/app", "/app/%20"), "/ ");
    assert_eq!(mounted("/a/b", "/a/b/c"), "/c");
}

#[test]
fn a_path_beside_the_root_path_stays() {
    assert_eq!(mounted("/app", "/apple"), "/apple");
    assert_eq!(mounted("/app", "/polls/"), "/polls/", "a proxy did it");
    assert_eq!(mounted("/app", "/"), "/");
    assert_eq!(mounted("/app", "/x/app/y"), "/x/app/y");
}

#[test]
fn other_forms_of_the_target_have_a_path_too() {
    assert_eq!(get("http://example.org/a?b").path, "/a");
    assert_eq!(get("http://example.org").path, "/");
    let options = Request::options("*");
    assert_eq!(load(options, None, "/app", None).path, "*");
}

#[test]
fn the_protocol_is_told() {
    let protocol = |version| load(Request::get("/").version(version), None, "", None).protocol;
    assert_eq!(protocol(http::Version::HTTP_10), "HTTP/1.0");
    assert_eq!(protocol(http::Version::HTTP_11), "HTTP/1.1");
    assert_eq!(protocol(http::Version::HTTP_2), "HTTP/2");
}

#[test]
fn any_method_is_passed_on() {
    for method in ["GET", "PROPFIND", "x-tra"] {
        let request = Request::builder().method(method);
        assert_eq!(load(request, None, "", None).method, method);
    }
}

#[test]
fn the_peer_is_told_as_the_address_it_is_known_by() {
    let peer = |client| {
        let environ = load(Request::get("/"), client, "", None);
        (environ.address, environ.port)
    };
    let pair = |address: &str, port: &str| (address.to_owned(), port.to_owned());
    assert_eq!(peer(None), pair("", ""));
    assert_eq!(peer(Some("127.0.0.1:1")), pair("127.0.0.1", "1"));
    assert_eq!(peer(Some("[::1]:65535")), pair("::1", "65535"));
    assert_eq!(
        peer(Some("[::ffff:192.0.2.1]:80")),
        pair("192.0.2.1", "80"),
        "a listener for both families sees IPv4 so"
    );
    let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
    let client = format!("[{longest}]:12345");
    assert_eq!(peer(Some(&client)), pair(longest, "12345"));
}

#[test]
fn the_length_is_that_of_the_body_that_came() {
    let request = || {
        Request::post("/")
            .header("Content-Length", "99")
            .header("Transfer-Encoding", "chunked")
    };
    let without = load(request(), None, "", None).variables;
    assert_eq!(without, BTreeMap::new());
    let with = load(request(), None, "", Some(7)).variables;
    assert_eq!(with, expected(&[("CONTENT_LENGTH", "7")]));
    let huge = load(request(), None, "", Some(u64::MAX)).variables;
    assert_eq!(huge["CONTENT_LENGTH"], "18446744073709551615");
}

#[test]
fn repeated_headers_become_one_variable() {
    let found = variables(&[
        ("Accept", b"text/html"),
        ("X-One", b"1"),
        ("Accept", b""),
        ("accept", b"*/*"),
    ]);
    let wanted = [("HTTP_ACCEPT", "text/html,,*/*"), ("HTTP_X_ONE", "1")];
    assert_eq!(found, expected(&wanted));
}

#[test]
fn repeated_cookies_are_joined_as_cookies_are() {
    let found = variables(&[("Cookie", b"a=1; b=2"), ("Cookie", b"c=3")]);
    assert_eq!(found, expected(&[("HTTP_COOKIE", "a=1; b=2; c=3")]));
}

#[test]
fn a_header_with_an_underscore_cannot_pose_as_another() {
    let found = variables(&[
        ("X-Real-IP", b"192.0.2.1"),
        ("X_Real_IP", b"forged"),
        ("X_Under", b"forged"),
        ("Content_Type", b"forged"),
    ]);
    assert_eq!(found, expected(&[("HTTP_X_REAL_IP", "192.0.2.1")]));
}

#[test]
fn a_client_cannot_set_the_applications_proxy() {
    let found = variables(&[
        ("Proxy", b"http://evil.example"),
        ("Proxy-Authorization", b"x"),
    ]);
    assert_eq!(found, expected(&[("HTTP_PROXY_AUTHORIZATION", "x")]));
}

#[test]
fn values_are_characters_of_one_byte() {
    let found = variables(&[
        ("X-Latin", b"caf\xe9"),
        ("X-Utf8", "é".as_bytes()),
        ("X-Twice", b"\xff"),
        ("X-Twice", b"a"),
        ("Content-Type", b"text/\xe9"),
    ]);
    let wanted = [
        ("CONTENT_TYPE", "text/\u{e9}"),
        ("HTTP_X_LATIN", "caf\u{e9}"),
        ("HTTP_X_TWICE", "\u{ff},a"),
        ("HTTP_X_UTF8", "\u{c3}\u{a9}"),
    ];
    assert_eq!(found, expected(&wanted));
}

#[test]
fn long_names_and_values_are_passed_on() {
    for length in [122, 123, 124, 250, 1000] {
        let (name, value) = ("a".repeat(length), "v".repeat(length));
        let found = variables(&[(&name, value.as_bytes())]);
        let variable = format!("HTTP_{}", "A".repeat(length));
        assert_eq!(found, expected(&[(&variable, &value)]), "{length}");
    }
    let name = format!("{}-b", "a".repeat(130));
    let variable = format!("HTTP_{}_B", "A".repeat(130));
    assert_eq!(variables(&[(&name, b"")]), expected(&[(&variable, "")]));
}

proptest! {
    #[test]
    fn a_decoded_path_is_what_was_encoded(path in any::<Vec<u8>>()) {
        let encoded = percent_encoding::percent_encode(&path, percent_encoding::NON_ALPHANUMERIC);
        let wanted: String = path.iter().copied().map(char::from).collect();
        prop_assert_eq!(get(&format!("/{encoded}")).path, format!("/{wanted}"));
    }

    #[test]
    fn every_header_is_passed_on_but_once(
        headers in proptest::collection::vec(("[a-zA-Z][a-zA-Z0-9-]{0,140}", "[ -~]{0,300}"), 0..20),
    ) {
        let list: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let mut wanted = BTreeMap::<String, Vec<&str>>::new();
        for (name, value) in &headers {
            let variable = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
            wanted.entry(variable).or_default().push(value);
        }
        for name in ["PROXY", "TRANSFER_ENCODING", "CONTENT_LENGTH", "CONTENT_TYPE"] {
            wanted.remove(&format!("HTTP_{name}"));
        }
        let mut found = variables(&list);
        found.remove("CONTENT_TYPE");
        let joined = wanted.into_iter().map(|(name, values)| {
            let separator = if name == "HTTP_COOKIE" { "; " } else { "," };
            (name, values.join(separator))
        });
        prop_assert_eq!(found, joined.collect::<BTreeMap<_, _>>());
    }
}
