//! Signatures as [Standard Webhooks](https://www.standardwebhooks.com) describes them, by HMAC-SHA256.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::hmac;

/// What is before the secret's bytes, so that people and scanners know it for what it is.
const PREFIX: &str = "whsec_";

/// A secret that the receiver shares.
pub(super) struct Secret(hmac::Key);

// === impl Secret ===

impl Secret {
    /// Reads `whsec_` and base64. What is wrong is told without telling the secret.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or("a webhook secret begins with whsec_")?;
        let bytes = BASE64
            .decode(text)
            .map_err(|_| "a webhook secret is base64 after whsec_")?;
        // Standard Webhooks asks for 24 to 64 bytes. Less is weak; more does no harm.
        if bytes.len() < 24 {
            return Err(
                "a webhook secret has at least 24 bytes, which are 32 characters of base64",
            );
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The signature of one attempt to deliver a message.
    fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign()))
    }
}

/// The value of `webhook-signature`: one signature for each secret, so that receivers can change theirs at leisure.
pub(super) fn signatures(secrets: &[Secret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let signatures: Vec<_> = secrets
        .iter()
        .map(|secret| secret.sign(id, timestamp, body))
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the reference libraries of Standard Webhooks are tested with.
    #[test]
    fn signs_as_the_reference_does() {
        let secret = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(
            secret.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                br#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn signs_with_each_secret_while_one_replaces_the_other() {
        let secrets = [
            secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ];
        let both = signatures(&secrets, "msg_1", 1, b"{}");
        let (new, old) = both.split_once(' ').unwrap();
        assert_eq!(new, secrets[0].sign("msg_1", 1, b"{}"));
        assert_eq!(old, secrets[1].sign("msg_1", 1, b"{}"));
        assert_ne!(new, old);
    }

    #[test]
    fn refuses_what_is_no_secret_without_telling_it() {
        for wrong in ["", "hunter2", "whsec_hunter2!", "whsec_aHVudGVyMg=="] {
            let Err(error) = Secret::parse(wrong) else {
                panic!("{wrong:?} is no secret");
            };
            assert!(error.starts_with("a webhook secret "), "{error}");
            assert!(!error.contains("unter"), "{error}");
        }
    }
}
