//! What is remembered of origins: the realms and payees they were paid under.
//!
//! Trust on first use. A server that changes its payee may have been taken over; a challenge whose
//! realm changes may be another server's. Neither is paid without the policy saying so.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use stiver_env::{BoxFuture, Env};

use crate::{
    Origin, limits,
    policy::{Change, Trust},
};

/// What an origin says of itself in one challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The realm; `None` when it is the origin's own host name, which needs no memory.
    pub realm: Option<String>,
    /// The payment method.
    pub method: String,
    /// The network, ledger or processor.
    pub network: String,
    /// The payee.
    pub payee: String,
}

/// Remembers. The seam between the client and where its memory lies.
pub trait Pins: Send + Sync {
    /// Compares a claim with what is remembered.
    fn compare<'a>(
        &'a self,
        origin: &'a Origin,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<Trust, PinsError>>;
    /// Remembers a claim beside what is remembered already; resolves when it is durable.
    fn learn<'a>(
        &'a self,
        origin: &'a Origin,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<(), PinsError>>;
}

/// Why the memory has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinsError {
    /// A file.
    #[error("{} could not be used", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is damaged.
    #[error(
        "{} is damaged: {why}; mend it, or remove it to trust every origin anew",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another process held the memory's lock for too long.
    #[error("{} is in use by another process", folder.display())]
    Locked {
        /// The folder that is locked.
        folder: PathBuf,
    },
    /// A limit: [`limits::PINNED_ORIGINS_MAX`] or [`limits::PINS_PER_ORIGIN_MAX`].
    #[error("too many origins, or too many realms or payees of one origin, are remembered")]
    Full,
}

/// What is remembered of all origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Memory {
    origins: BTreeMap<String, OriginPins>,
}

/// What is remembered of one origin. Also its form on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OriginPins {
    realms: Vec<String>,
    payees: Vec<Payee>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Payee {
    method: String,
    network: String,
    payee: String,
}

impl Memory {
    fn compare(&self, origin: &Origin, claim: &Claim) -> Trust {
        let Some(known) = self.origins.get(&origin.to_string()) else {
            return Trust::FirstUse;
        };
        let mut changes = Vec::new();
        let mut first = false;
        if let Some(realm) = &claim.realm {
            if known.realms.is_empty() {
                first = true;
            } else if !known.realms.contains(realm) {
                changes.push(Change::Realm {
                    now: realm.clone(),
                    before: known.realms.clone(),
                });
            }
        }
        let payees: Vec<String> = known
            .payees
            .iter()
            .filter(|p| p.method == claim.method && p.network == claim.network)
            .map(|p| p.payee.clone())
            .collect();
        if payees.is_empty() {
            first = true;
        } else if !payees.contains(&claim.payee) {
            changes.push(Change::Payee {
                now: claim.payee.clone(),
                before: payees,
            });
        }
        match (changes.is_empty(), first) {
            (false, _) => Trust::Changed(changes),
            (true, true) => Trust::FirstUse,
            (true, false) => Trust::Known,
        }
    }

    /// Remembers; `Ok(false)` when all of it was remembered already.
    fn learn(&mut self, origin: &Origin, claim: &Claim) -> Result<bool, PinsError> {
        let full = self.origins.len() >= limits::PINNED_ORIGINS_MAX;
        let key = origin.to_string();
        if full && !self.origins.contains_key(&key) {
            return Err(PinsError::Full);
        }
        let known = self.origins.entry(key).or_default();
        let mut changed = false;
        if let Some(realm) = &claim.realm
            && !known.realms.contains(realm)
        {
            known.realms.push(realm.clone());
            changed = true;
        }
        let payee = Payee {
            method: claim.method.clone(),
            network: claim.network.clone(),
            payee: claim.payee.clone(),
        };
        if !known.payees.contains(&payee) {
            known.payees.push(payee);
            changed = true;
        }
        let most = known.realms.len().max(known.payees.len());
        if most > limits::PINS_PER_ORIGIN_MAX {
            return Err(PinsError::Full);
        }
        Ok(changed)
    }
}

/// Remembers until it is dropped.
#[derive(Debug, Default)]
pub struct MemoryPins {
    memory: Mutex<Memory>,
}

impl MemoryPins {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Pins for MemoryPins {
    fn compare<'a>(
        &'a self,
        origin: &'a Origin,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<Trust, PinsError>> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(std::future::ready(Ok(memory.compare(origin, claim))))
    }

    fn learn<'a>(
        &'a self,
        origin: &'a Origin,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<(), PinsError>> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = memory.learn(origin, claim).map(|_| ());
        Box::pin(std::future::ready(learned))
    }
}

/// Version of the file.
const FILE_VERSION: u32 = 1;
/// Longest file, bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// How often and how long a lock that another process holds is tried.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Remembers in a file, `pins.json` in a folder. Processes share it: it is read anew for every
/// payment, and written under the lock of the folder `pins.lock` beside it.
pub struct FilePins {
    folder: PathBuf,
    env: Env,
}

#[derive(Serialize, Deserialize)]
struct FileWire {
    version: u32,
    origins: BTreeMap<String, OriginPins>,
}

impl FilePins {
    /// The memory in a folder. The file is made at the first payment.
    pub fn new(folder: impl Into<PathBuf>, env: Env) -> Self {
        Self {
            folder: folder.into(),
            env,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("pins.json")
    }

    fn read(&self) -> Result<Memory, PinsError> {
        let path = self.path();
        let bytes = match self.env.disk.read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Memory::default()),
            Err(source) => return Err(PinsError::Disk { path, source }),
        };
        let file: FileWire = serde_json::from_slice(&bytes).map_err(|error| {
            let why = error.to_string();
            PinsError::Damaged {
                path: path.clone(),
                why,
            }
        })?;
        if file.version != FILE_VERSION {
            let why = format!("version {} is not {FILE_VERSION}", file.version);
            return Err(PinsError::Damaged { path, why });
        }
        Ok(Memory {
            origins: file.origins,
        })
    }

    fn write(&self, memory: Memory) -> Result<(), PinsError> {
        let path = self.path();
        let file = FileWire {
            version: FILE_VERSION,
            origins: memory.origins,
        };
        let bytes = serde_json::to_vec_pretty(&file).map_err(|error| PinsError::Damaged {
            path: path.clone(),
            why: error.to_string(),
        })?;
        self.env
            .disk
            .write_atomic(&path, &bytes, true)
            .map_err(|source| PinsError::Disk { path, source })
    }

    async fn lock(&self, folder: &Path) -> Result<Box<dyn stiver_env::disk::Lock>, PinsError> {
        let disk = |source| PinsError::Disk {
            path: folder.to_owned(),
            source,
        };
        self.env.disk.create_folder(folder).map_err(disk)?;
        for _ in 0..LOCK_TRIES {
            match self.env.disk.lock(folder) {
                Ok(lock) => return Ok(lock),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.env.clock.sleep(LOCK_PAUSE).await;
                }
                Err(source) => return Err(disk(source)),
            }
        }
        Err(PinsError::Locked {
            folder: folder.to_owned(),
        })
    }
}

impl Pins for FilePins {
    fn compare<'a>(
        &'a self,
        origin: &'a Origin,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<Trust, PinsError>> {
        Box::pin(async move { Ok(self.read()?.compare(origin, claim)) })
    }

    fn learn<'a>(
        &'a self,
        origin: &'a Origin,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<(), PinsError>> {
        Box::pin(async move {
            // Most payments teach nothing: no lock for those.
            if !self.read()?.learn(origin, claim)? {
                return Ok(());
            }
            let _lock = self.lock(&self.folder.join("pins.lock")).await?;
            let mut memory = self.read()?;
            if memory.learn(origin, claim)? {
                self.write(memory)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(realm: Option<&str>, payee: &str) -> Claim {
        Claim {
            realm: realm.map(str::to_owned),
            method: "ledger".into(),
            network: "home".into(),
            payee: payee.into(),
        }
    }

    #[test]
    fn a_changed_realm_or_payee_is_told_and_a_learned_one_is_known() {
        let origin = Origin::of(&"https://a.example".parse().unwrap()).unwrap();
        let other = Origin::of(&"https://b.example".parse().unwrap()).unwrap();
        let mut memory = Memory::default();
        let first = claim(Some("data"), "anna");
        assert_eq!(memory.compare(&origin, &first), Trust::FirstUse);
        assert!(memory.learn(&origin, &first).unwrap());
        assert!(!memory.learn(&origin, &first).unwrap());
        assert_eq!(memory.compare(&origin, &first), Trust::Known);
        assert_eq!(memory.compare(&other, &first), Trust::FirstUse);
        let second = claim(Some("date"), "berta");
        let changed = memory.compare(&origin, &second);
        assert!(matches!(changed, Trust::Changed(changes) if changes.len() == 2));
        memory.learn(&origin, &second).unwrap();
        assert_eq!(memory.compare(&origin, &second), Trust::Known);
        assert_eq!(memory.compare(&origin, &first), Trust::Known);
    }

    #[test]
    fn another_method_or_network_is_a_first_use() {
        let origin = Origin::of(&"https://a.example".parse().unwrap()).unwrap();
        let mut memory = Memory::default();
        memory.learn(&origin, &claim(None, "anna")).unwrap();
        let mut elsewhere = claim(None, "carla");
        elsewhere.network = "other".into();
        assert_eq!(memory.compare(&origin, &elsewhere), Trust::FirstUse);
    }
}
