//! An authority for certificates that exists for one test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// See the module.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate for `localhost`, and its key.
pub struct Issued {
    /// The certificate.
    pub certificate: rcgen::Certificate,
    /// Its key.
    pub key: KeyPair,
}

impl Authority {
    /// Another one.
    #[expect(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "An authority of the tests");
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("it signs itself"))
    }

    /// Its own certificate, in PEM format.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `localhost`, and not for 127.0.0.1.
    pub fn issue(&self) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a good name");
        let certificate = params.signed_by(&key, &self.0).expect("it is signed");
        Issued { certificate, key }
    }
}
