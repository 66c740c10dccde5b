//! Which host a request is for.

use http::{Request, Version, header::HOST};

/// Whether a request names the host that it is for as it has to: RFC 9112 section 3.2 has a server refuse one of
/// HTTP/1.1 without `Host`, and any with several or with one that is no host.
///
/// What stands between a client and this server may go by the first of two, or take what is no host for something
/// else, and so let a request in that it was to keep out.
pub(super) fn is_told<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        // HTTP/2 has `:authority`.
        (None, _) => request.version() != Version::HTTP_11,
        (Some(host), None) => host.as_bytes().iter().all(|byte| may_be_in_host(*byte)),
        (Some(_), Some(_)) => false,
    }
}

/// The characters of `uri-host [":" port]` (RFC 3986 section 3.2.2).
fn may_be_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b':'
                | b'['
                | b']'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_once_and_is_a_host() {
        for (version, hosts, wanted) in [
            (Version::HTTP_11, &["example.com"][..], true),
            (Version::HTTP_11, &["my_service-1.ns.svc:8000"], true),
            (Version::HTTP_11, &["[2001:db8::1]:8000"], true),
            // Of a URI that has none (RFC 9112 section 3.2).
            (Version::HTTP_11, &[""], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_2, &[], true),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_10, &["a", "b"], false),
            (Version::HTTP_11, &["a b"], false),
            (Version::HTTP_11, &["a/b"], false),
            (Version::HTTP_11, &["user@a"], false),
            (Version::HTTP_11, &["a\\b"], false),
            (Version::HTTP_10, &["\u{e4}"], false),
        ] {
            let mut request = Request::builder().version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let told = is_told(&request.body(()).unwrap());
            assert_eq!(told, wanted, "{version:?} {hosts:?}");
        }
    }
}
