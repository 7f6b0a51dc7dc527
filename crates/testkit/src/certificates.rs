//! Certificates for tests: an authority of one's own, and what it signs.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority that nobody else knows.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: String,
    /// The certificate, DER.
    pub certificate_der: Vec<u8>,
    /// Its private key, DER (PKCS #8).
    pub key_der: Vec<u8>,
}

impl Authority {
    /// A fresh one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = "Authority of a test";
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, key());
        Self {
            issuer: issuer.expect("an authority signs itself, because its parameters are ours"),
        }
    }

    /// Its own certificate, PEM: the root that those who trust it have.
    pub fn root(&self) -> String {
        self.issuer.pem()
    }

    /// Its own certificate, DER.
    pub fn root_der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// A certificate for names and addresses, with a key of its own.
    pub fn issue(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("the names of a test are names");
        let key = key();
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("an authority signs, because it has its key");
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            certificate_der: certificate.der().to_vec(),
            key_der: key.serialize_der(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key is made, because the system has randomness")
}
