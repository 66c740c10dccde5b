//! Where a webhook goes.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderValue, Uri, uri::Authority};
use percent_encoding::percent_decode_str;

/// A URL of a server that speaks HTTP, and what is to be said to be let in.
pub(crate) struct Target {
    pub(crate) uri: Uri,
    /// The user and the password of the URL.
    pub(crate) authorization: Option<HeaderValue>,
}

/// A first word of a path that is longer may be a token.
const WORD: usize = 16;

// === impl Target ===

impl Target {
    /// Reads a URL; what is wrong is told without telling the URL, which may hold secrets.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.split_once("://") {
            Some(("http" | "https", _)) => {}
            Some((other, _)) if !other.contains(['/', '@', '?']) => {
                return Err(format!("{other} is neither http nor https"));
            }
            _ => return Err("it does not begin with http:// or https://".to_owned()),
        }
        let uri: Uri = text.parse().map_err(|_| "it is malformed")?;
        let mut parts = uri.into_parts();
        let authority = parts.authority.take().ok_or("it names no host")?;
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority.as_str()),
        };
        let authorization = user.map(basic).transpose()?;
        let host: Authority = host.parse().map_err(|_| "it names no host")?;
        if host.host().is_empty() {
            return Err("it names no host".to_owned());
        }
        if host.as_str() != host.host() && host.port_u16().is_none() {
            return Err("its port is no number of a port".to_owned());
        }
        parts.authority = Some(host);
        Ok(Self {
            uri: Uri::from_parts(parts).map_err(|error| error.to_string())?,
            authorization,
        })
    }

    /// The URL as far as it is surely no secret: without user, password and query, and of the path the first word
    /// only, if it is one. What comes behind it is often a token, as in the webhooks of Slack.
    pub(crate) fn public(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let host = self.uri.authority().map_or("", Authority::as_str);
        let path = self.uri.path().trim_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let is_word = |c: char| c.is_ascii_alphabetic() || matches!(c, '-' | '_' | '.');
        if first.is_empty() {
            format!("{scheme}://{host}/")
        } else if first.len() > WORD || !first.chars().all(is_word) {
            format!("{scheme}://{host}/…")
        } else if rest.is_empty() {
            format!("{scheme}://{host}/{first}")
        } else {
            format!("{scheme}://{host}/{first}/…")
        }
    }
}

/// `user:password` of a URL as the value of a header.
fn basic(user: &str) -> Result<HeaderValue, String> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut bytes: Vec<u8> = percent_decode_str(name).collect();
    bytes.push(b':');
    bytes.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(bytes)))
        .map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn takes_user_and_password_out_of_the_url() {
        let target = target("http://al%40ice:s%3Ae@ops.example:8080/hook?token=1#part");
        assert_eq!(target.uri, "http://ops.example:8080/hook?token=1");
        let authorization = target.authorization.unwrap();
        assert_eq!(authorization, "Basic YWxAaWNlOnM6ZQ==");
        assert!(authorization.is_sensitive());
    }

    #[test]
    fn shows_of_the_path_what_is_surely_no_secret() {
        for (url, shown) in [
            ("http://[::1]:8074/webhook", "http://[::1]:8074/webhook"),
            ("https://ops.example", "https://ops.example/"),
            ("https://ops.example/hooks/", "https://ops.example/hooks"),
            ("https://u:p@ops.example/a?q", "https://ops.example/a"),
            (
                "https://hooks.slack.com/services/T00/B00/XXXX",
                "https://hooks.slack.com/services/…",
            ),
            ("https://make.example/a1b2c3", "https://make.example/…"),
            (
                "https://make.example/abcdefghijklmnopqrstuvwxyz",
                "https://make.example/…",
            ),
        ] {
            assert_eq!(target(url).public(), shown);
        }
    }

    #[test]
    fn refuses_what_is_no_url_of_a_server() {
        for (url, reason) in [
            (
                "ops.example/hooks",
                "it does not begin with http:// or https://",
            ),
            ("/hooks", "it does not begin with http:// or https://"),
            ("ftp://ops.example/", "ftp is neither http nor https"),
            ("http://", "it is malformed"),
            ("http://user@/", "it is malformed"),
            ("http://:80/", "it names no host"),
            (
                "http://ops.example:port/",
                "its port is no number of a port",
            ),
            ("http://[::1]:99999/", "its port is no number of a port"),
            ("", "it does not begin with http:// or https://"),
        ] {
            let Err(error) = Target::parse(url) else {
                panic!("{url:?} was taken");
            };
            assert_eq!(error, reason, "{url:?}");
        }
    }
}
