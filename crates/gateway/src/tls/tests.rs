use std::fs;

use stiver_testkit::certificates::Authority;

use super::*;

struct Files {
    folder: tempfile::TempDir,
    files: Tls,
    env: Env,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Tls {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        let env = stiver_env::native::env();
        Self { folder, files, env }
    }

    fn write(&self, certificate: &str, key: &str) {
        fs::write(&self.files.certificate, certificate).unwrap();
        fs::write(&self.files.key, key).unwrap();
    }

    fn load(&self) -> Result<Certificate, TlsError> {
        Certificate::load(self.files.clone(), Arc::clone(&self.env.disk))
    }
}

fn in_force(certificate: &Certificate) -> Vec<u8> {
    certificate.current.read().unwrap().cert[0].to_vec()
}

#[test]
fn new_files_come_into_force_and_bad_ones_leave_the_old_certificate() {
    let (files, authority) = (Files::new(), Authority::new());
    let (first, second) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    files.write(&first.certificate, &first.key);
    let certificate = files.load().unwrap();
    assert_eq!(certificate.look().unwrap(), Look::Same);

    // Half of a renewal: the key is still the old one.
    files.write(&second.certificate, &first.key);
    assert!(matches!(certificate.look(), Err(TlsError::Pair { .. })));
    assert_eq!(certificate.look().unwrap(), Look::Same, "told once");
    files.write("nothing", &second.key);
    let error = certificate.look().unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
    fs::remove_file(&files.files.key).unwrap();
    assert!(matches!(certificate.look(), Err(TlsError::Read { .. })));
    assert_eq!(certificate.look().unwrap(), Look::Same, "told once");
    assert_eq!(in_force(&certificate), first.certificate_der);

    files.write(&second.certificate, &second.key);
    assert_eq!(certificate.look().unwrap(), Look::Renewed);
    assert_eq!(in_force(&certificate), second.certificate_der);
    assert_eq!(certificate.look().unwrap(), Look::Same);
}

#[test]
fn files_that_do_not_fit_are_named_and_tell_no_key() {
    let (files, authority) = (Files::new(), Authority::new());
    let (one, other) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    assert!(files.load().is_err(), "there are none");
    for (certificate, key, part) in [
        (&*one.certificate, &*other.key, "does not go with"),
        (&*one.key, &*one.key, "cert.pem holds no certificate"),
        (
            &*one.certificate,
            &*one.certificate,
            "key.pem holds no private key",
        ),
        (&*one.certificate, "", "key.pem holds no private key"),
    ] {
        files.write(certificate, key);
        let error = files.load().unwrap_err().chain();
        assert!(error.contains(part), "{error}");
        let secret = one.key.lines().nth(1).unwrap();
        assert!(!error.contains(secret), "{error}");
    }
    assert!(files.folder.path().exists());
}
