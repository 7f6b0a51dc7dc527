//! TLS of the listeners, with certificates that are read again when their files change.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use stiver_env::{Env, disk::Disk};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

pub(crate) use crate::config::listener::{Protocols, Tls};

/// Longest certificate, key or CA file, bytes.
pub(crate) const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// How often the files of certificates are looked at.
pub(crate) const CERTIFICATE_LOOK_PAUSE: Duration = Duration::from_secs(10);

impl Protocols {
    fn alpn(self) -> Vec<Vec<u8>> {
        let (h2, http1) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Http1 => vec![http1],
            Self::Http2 => vec![h2],
            Self::Both => vec![h2, http1],
        }
    }

    /// What is spoken after a handshake.
    pub(crate) fn agreed(self, alpn: Option<&[u8]>) -> Self {
        match alpn {
            Some(b"h2") => Self::Http2,
            Some(_) => Self::Http1,
            None => self,
        }
    }
}

/// What the files held when they were read last, good or not.
type Seen = (Vec<u8>, Zeroizing<Vec<u8>>);

/// A certificate in force, and its files.
pub(crate) struct Certificate {
    files: Tls,
    disk: Arc<dyn Disk>,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Option<Seen>>,
}

/// What came of a look at the files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// They are as they were.
    Same,
    /// They hold a new certificate, in force from now on.
    Renewed,
}

impl Certificate {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file.
    pub(crate) fn load(files: Tls, disk: Arc<dyn Disk>) -> Result<Self, TlsError> {
        let seen = read(&files, &*disk)?;
        let current = RwLock::new(Arc::new(certified(&files, &seen)?));
        Ok(Self {
            files,
            disk,
            current,
            seen: Mutex::new(Some(seen)),
        })
    }

    /// Looks at the files, and takes a new certificate into use. Connections that are open stay.
    ///
    /// # Errors
    ///
    /// [`TlsError`]: the certificate in force stays. The same bad files are an error once.
    pub(crate) fn look(&self) -> Result<Look, TlsError> {
        let mut last = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = match read(&self.files, &*self.disk) {
            Ok(seen) => seen,
            // Files that cannot be read are told of once, like bad ones.
            Err(_) if last.is_none() => return Ok(Look::Same),
            Err(error) => {
                *last = None;
                return Err(error);
            }
        };
        if last.as_ref() == Some(&seen) {
            return Ok(Look::Same);
        }
        let renewed = certified(&self.files, &seen);
        *last = Some(seen);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(renewed?);
        Ok(Look::Renewed)
    }

    /// TLS with this certificate.
    ///
    /// # Errors
    ///
    /// [`TlsError::Protocol`].
    pub(crate) fn acceptor(
        self: &Arc<Self>,
        protocols: Protocols,
    ) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Protocol)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Self>::clone(self));
        config.alpn_protocols = protocols.alpn();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.files).finish()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// Looks at the files of certificates from time to time, until told to stop.
pub(crate) fn keep_fresh(
    certificates: Vec<Arc<Certificate>>,
    env: &Env,
    mut stopped: watch::Receiver<bool>,
) {
    if certificates.is_empty() {
        return;
    }
    let clock = Arc::clone(&env.clock);
    let looking = async move {
        loop {
            tokio::select! {
                biased;
                () = clock.sleep(CERTIFICATE_LOOK_PAUSE) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            look_at_all(&certificates);
        }
    };
    env.spawner
        .spawn_blocking_task("certificates", Box::pin(looking));
}

/// Looks at the files of certificates now, and tells the log.
pub(crate) fn look_at_all(certificates: &[Arc<Certificate>]) {
    for certificate in certificates {
        let file = certificate.files.certificate.display();
        match certificate.look() {
            Ok(Look::Same) => {}
            Ok(Look::Renewed) => tracing::info!(%file, "a new certificate is in force"),
            Err(error) => {
                tracing::error!(error = error.chain(), "the old certificate stays in force");
            }
        }
    }
}

fn read(files: &Tls, disk: &dyn Disk) -> Result<Seen, TlsError> {
    let read = |file: &Path| {
        disk.read(file, PEM_BYTES_MAX)
            .map_err(|source| TlsError::Read {
                file: file.to_path_buf(),
                source,
            })
    };
    Ok((read(&files.certificate)?, Zeroizing::new(read(&files.key)?)))
}

fn certified(files: &Tls, (chain, key): &Seen) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.certificate, chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey {
        file: files.key.clone(),
    })?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|source| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })
}

/// The certificates of a PEM file: at least one.
pub(crate) fn certificates(
    file: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(TlsError::NoCertificate {
            file: file.to_path_buf(),
        }),
    }
}

/// What is wrong with TLS. It holds nothing of what a key file says.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{} could not be read", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No certificate.
    #[error("{} holds no certificate: it must be PEM, with BEGIN CERTIFICATE", file.display())]
    NoCertificate {
        /// Where.
        file: PathBuf,
    },
    /// No key.
    #[error("{} holds no private key: it must be PEM, with BEGIN PRIVATE KEY", file.display())]
    NoKey {
        /// Where.
        file: PathBuf,
    },
    /// A key that is not the certificate's, or of a kind that cannot sign.
    #[error(
        "the key of {} does not go with the certificate of {}",
        key.display(),
        certificate.display()
    )]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The settings of TLS.
    #[error("TLS could not be set up")]
    Protocol(#[source] rustls::Error),
}

impl TlsError {
    fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
