//! A broker that is spoken to over TLS, and wants to see a certificate.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{Admin, broker::Broker, consume, name, options::ends};
use crate::harness::{Launch, free_port, get, until_true};

/// Who vouches for certificates.
struct Authority(Issuer<'static, KeyPair>);

// === impl Authority ===

impl Authority {
    /// Makes one, and writes its certificate.
    fn new(file: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, file.display().to_string());
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(file, certificate.pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// Writes a certificate that it vouches for, and its key.
    fn vouch(&self, usage: ExtendedKeyUsagePurpose, certificate: &Path, key: &Path) {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let pair = KeyPair::generate().unwrap();
        let signed = params.signed_by(&pair, &self.0).unwrap();
        fs::write(certificate, signed.pem()).unwrap();
        fs::write(key, pair.serialize_pem()).unwrap();
    }
}

#[test]
fn both_sides_show_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let authority = Authority::new(&file("ca"));
    Authority::new(&file("stranger"));
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    authority.vouch(server, &file("server"), &file("server.key"));
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    authority.vouch(client, &file("client"), &file("client.key"));
    let port = free_port();
    let path = |name: &str| file(name).display().to_string();
    let broker = Broker::start_with(&format!(
        "listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {}
ssl_options.certfile = {}
ssl_options.keyfile = {}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
",
        path("ca"),
        path("server"),
        path("server.key")
    ));
    let queue = name("tls");
    let launch = || consume("Noting", &queue).without("--amqp-url");
    let trusting = || {
        let url = format!("amqps://127.0.0.1:{port}");
        launch().arg("--amqp-url", url).arg("--amqp-ca", path("ca"))
    };
    let showing = |launch: Launch| {
        let launch = launch.arg("--amqp-cert", path("client"));
        launch.arg("--amqp-key", path("client.key"))
    };

    let server = showing(trusting()).start_consuming();
    Admin::at(broker.uri()).publish("", &queue, b"hello");
    server.wait_for_note("hello done");
    assert_eq!(get(server.probe_port(), "/ready").status, 200);
    server.stop();
    // Whoever names an authority wants TLS.
    let host = launch().arg("--amqp-host", "127.0.0.1");
    let host = host.arg("--amqp-port", port).arg("--amqp-ca", path("ca"));
    showing(host).start_consuming().stop();

    let says = format!("failed to agree on TLS with the broker at 127.0.0.1:{port}: ");
    let wrong = showing(trusting()).arg("--amqp-ca", path("stranger"));
    let wrong = wrong.run();
    ends(&wrong, 10, &says);
    let last = wrong.stderr.lines().last().unwrap();
    let reason = "invalid peer certificate: UnknownIssuer";
    assert_eq!(last.matches(reason).count(), 1, "{last}");
    ends(&trusting().run(), 10, &says);
    let plain = showing(trusting()).arg("--amqp-url", broker.uri().replace("amqp", "amqps"));
    let plain = plain.arg("--max-reconnects", 0).run();
    assert!([10, 11].contains(&plain.code.unwrap()), "{plain:?}");
    let none = trusting().arg("--amqp-ca", path("nowhere"));
    ends(&none.run(), 2, "--amqp-ca");
    let swapped = trusting().arg("--amqp-cert", path("client.key"));
    let swapped = swapped.arg("--amqp-key", path("client")).run();
    ends(&swapped, 10, &says);
    until_true("nothing is left", || {
        Admin::at(broker.uri()).depth(&queue) == Some(0)
    });
}
