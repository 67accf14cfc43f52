//! Credentials of all dialects: configured ones, stored ones, and signed session tokens.
//!
//! Every known credential is held in memory by its SHA-256, so that a look-up takes the same time
//! for a right and a wrong secret and touches no database. Session tokens are signed, not stored:
//! connecting writes nothing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Clock, Event, Ids, Noun, OpError, ScopeSet, Secret, Timestamp, TokenId};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use store::{Document, Store, TokenRecord};
use tokio::sync::watch;

/// Start of every signed session token.
const SESSION_PREFIX: &str = "st_";

/// A credential that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIdentity {
    pub id: TokenId,
    pub name: String,
    pub scopes: ScopeSet,
    /// `operator`, `node`, `device` or `guest`.
    pub role: String,
    pub device_id: Option<String>,
    pub expires_at: Option<Timestamp>,
    /// Scope words of a dialect that our own scopes cannot say, kept as written.
    pub words: Vec<String>,
}

/// A credential from the configuration or the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredToken {
    pub id: String,
    pub secret: Secret,
    pub scopes: ScopeSet,
    pub role: String,
    pub words: Vec<String>,
}

/// What a new stored token shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub name: String,
    pub scopes: ScopeSet,
    pub role: String,
    pub device_id: Option<String>,
    pub parent: Option<TokenId>,
    pub expires_at: Option<Timestamp>,
}

pub struct Tokens {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    known: RwLock<Known>,
    session_key: hmac::Key,
    revocations: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    configured: HashMap<[u8; 32], Arc<TokenIdentity>>,
    stored: HashMap<[u8; 32], Arc<TokenIdentity>>,
}

#[derive(Serialize, Deserialize)]
struct SessionClaims {
    #[serde(rename = "p")]
    parent: TokenId,
    #[serde(rename = "r")]
    role: String,
    #[serde(rename = "s")]
    scopes: String,
    #[serde(rename = "x")]
    expires_at: Timestamp,
}

impl Tokens {
    pub async fn load(store: Arc<dyn Store>, clock: Arc<dyn Clock>, ids: Arc<Ids>) -> Result<Self, OpError> {
        let fresh = hex::encode(ids.secret_bytes::<32>());
        let now = clock.now();
        let (records, key) = store
            .write::<_, OpError, _>(move |tx| {
                let key = match tx.documents().get("keys", "session")? {
                    Some(document) => document.body["key"].as_str().map(str::to_owned).unwrap_or(fresh),
                    None => {
                        let body = json!({ "key": fresh });
                        tx.documents_mut().put("keys", &Document { id: "session".into(), body, updated_at: now })?;
                        fresh
                    }
                };
                Ok((tx.tokens().list()?, key))
            })
            .await?;
        let stored = records.into_iter().filter(|record| record.revoked_at.is_none()).filter_map(known_entry).collect();
        let (revocations, _) = watch::channel(0);
        Ok(Self {
            store,
            clock,
            ids,
            known: RwLock::new(Known { configured: HashMap::new(), stored }),
            session_key: hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()),
            revocations,
        })
    }

    /// Puts the configured credentials in place of the former ones. One that is stored too keeps the id that
    /// it has there, so that it is one credential at all nodes.
    pub fn set_configured(&self, tokens: Vec<ConfiguredToken>) {
        let mut known = self.write();
        let configured: HashMap<_, _> = tokens
            .into_iter()
            .map(|token| {
                let hash = hash(token.secret.expose_secret());
                let stored = known.stored.get(&hash).map(|stored| stored.id.clone());
                let identity = TokenIdentity {
                    id: stored.unwrap_or_else(|| TokenId::trusted(format!("config:{}", token.id))),
                    name: token.id,
                    scopes: token.scopes,
                    role: token.role,
                    device_id: None,
                    expires_at: None,
                    words: token.words,
                };
                (hash, Arc::new(identity))
            })
            .collect();
        let lost_one = known.configured.iter().any(|(hash, identity)| configured.get(hash) != Some(identity));
        known.configured = configured;
        drop(known);
        if lost_one {
            self.revocations.send_modify(|generation| *generation += 1);
        }
    }

    /// Whether any credential exists at all.
    pub fn any_configured(&self) -> bool {
        let known = self.read();
        !known.configured.is_empty() || !known.stored.is_empty()
    }

    /// The identity behind a secret; `None` for unknown, expired and revoked ones.
    pub fn authenticate(&self, secret: &str) -> Option<Arc<TokenIdentity>> {
        let now = self.clock.now();
        let hash = hash(secret);
        let identity = {
            let known = self.read();
            known.configured.get(&hash).or_else(|| known.stored.get(&hash)).cloned()
        };
        let identity = match identity {
            Some(identity) => identity,
            None => Arc::new(self.session_identity(secret)?),
        };
        identity.expires_at.is_none_or(|at| at > now).then_some(identity)
    }

    /// Whether the credential still holds; asked when [`Tokens::revocations`] changes.
    pub fn is_valid(&self, id: &TokenId) -> bool {
        let now = self.clock.now();
        let known = self.read();
        known
            .configured
            .values()
            .chain(known.stored.values())
            .any(|identity| identity.id == *id && identity.expires_at.is_none_or(|at| at > now))
    }

    /// Changes whenever a credential is revoked or leaves the configuration.
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    /// A signed token with at most the parent's scopes. It falls with its parent.
    pub fn issue_session(&self, parent: &TokenIdentity, role: &str, scopes: ScopeSet, expires_at: Timestamp) -> Secret {
        let claims = SessionClaims {
            parent: parent.id.clone(),
            role: role.to_owned(),
            scopes: scopes.intersection(parent.scopes).to_text(),
            expires_at,
        };
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).expect("claims are plain strings and numbers"));
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.session_key, body.as_bytes()));
        Secret::new(format!("{SESSION_PREFIX}{body}.{tag}"))
    }

    fn session_identity(&self, secret: &str) -> Option<TokenIdentity> {
        let (body, tag) = secret.strip_prefix(SESSION_PREFIX)?.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.session_key, body.as_bytes(), &tag).ok()?;
        let claims: SessionClaims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        let known = self.read();
        let parent =
            known.configured.values().chain(known.stored.values()).find(|parent| parent.id == claims.parent)?;
        Some(TokenIdentity {
            scopes: ScopeSet::from_text(&claims.scopes).intersection(parent.scopes),
            role: claims.role,
            // The parent's words may say more than is left of its scopes.
            words: Vec::new(),
            expires_at: Some(parent.expires_at.map_or(claims.expires_at, |at| at.min(claims.expires_at))),
            ..TokenIdentity::clone(parent)
        })
    }

    /// Makes a stored token; the secret is given back once and never again.
    pub async fn create(&self, new: NewToken) -> Result<(TokenRecord, Secret), OpError> {
        let secret = Secret::new(format!("pb_{}", hex::encode(self.ids.secret_bytes::<24>())));
        let record = self.create_with(new, &secret).await?;
        Ok((record, secret))
    }

    /// Like [`Tokens::create`], with a secret of the caller's making.
    pub async fn create_with(&self, new: NewToken, secret: &Secret) -> Result<TokenRecord, OpError> {
        let record = TokenRecord {
            id: self.ids.token(),
            name: new.name,
            hash: hex::encode(hash(secret.expose_secret())),
            scopes: new.scopes,
            role: new.role,
            device_id: new.device_id,
            parent: new.parent,
            created_at: self.clock.now(),
            expires_at: new.expires_at,
            revoked_at: None,
        };
        let (stored, now) = (record.clone(), record.created_at);
        self.store
            .write::<_, OpError, _>(move |tx| {
                tx.tokens_mut().put(&stored)?;
                tx.events_mut().append(now, &Event::TokenCreated { token_id: stored.id })?;
                Ok(())
            })
            .await?;
        if let Some((hash, identity)) = known_entry(record.clone()) {
            self.write().stored.insert(hash, identity);
        }
        Ok(record)
    }

    /// Makes a secret of this node known to every node of the cluster, with all that an operator may;
    /// nothing is written when it is known. Gives the id that it has at all of them.
    pub async fn share(&self, name: &str, secret: &Secret) -> Result<TokenId, OpError> {
        let text = hash_text(secret.expose_secret());
        let known = self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.tokens().by_hash(&text)?)).await?;
        if let Some(known) = known {
            return Ok(known.id);
        }
        let new = NewToken {
            name: name.to_owned(),
            scopes: ScopeSet::OPERATOR,
            role: String::from("operator"),
            device_id: None,
            parent: None,
            expires_at: None,
        };
        Ok(self.create_with(new, secret).await?.id)
    }

    /// Stored tokens, newest first.
    pub async fn list(&self) -> Result<Vec<TokenRecord>, OpError> {
        self.store.read::<_, OpError, _>(|snapshot| Ok(snapshot.tokens().list()?)).await
    }

    /// Revokes a stored token and those made with it; their connections are closed. `false` when it was revoked before.
    pub async fn revoke(&self, id: &TokenId) -> Result<bool, OpError> {
        let (wanted, now) = (id.clone(), self.clock.now());
        let revoked = self
            .store
            .write::<_, OpError, _>(move |tx| {
                let all = tx.tokens().list()?;
                if !all.iter().any(|record| record.id == wanted) {
                    return Err(OpError::not_found(Noun::Token, &wanted));
                }
                let mut revoked = Vec::new();
                let mut doomed = vec![wanted];
                while let Some(id) = doomed.pop() {
                    doomed.extend(
                        all.iter().filter(|record| record.parent.as_ref() == Some(&id)).map(|record| record.id.clone()),
                    );
                    let live = all.iter().find(|record| record.id == id && record.revoked_at.is_none());
                    if let Some(record) = live {
                        tx.tokens_mut().put(&TokenRecord { revoked_at: Some(now), ..record.clone() })?;
                        tx.events_mut().append(now, &Event::TokenRevoked { token_id: id.clone() })?;
                        revoked.push(id);
                    }
                }
                Ok(revoked)
            })
            .await?;
        if revoked.is_empty() {
            return Ok(false);
        }
        self.write().stored.retain(|_, identity| !revoked.contains(&identity.id));
        self.revocations.send_modify(|generation| *generation += 1);
        Ok(true)
    }

    /// Knows a token that another node has made.
    pub(crate) async fn learn(&self, id: &TokenId) -> Result<(), OpError> {
        let id = id.clone();
        let record = self.store.read::<_, OpError, _>(move |snapshot| Ok(snapshot.tokens().get(&id)?)).await?;
        self.remember(record.into_iter().filter(|record| record.revoked_at.is_none()).collect());
        Ok(())
    }

    /// Knows tokens that another domain has written with its own rows.
    pub(crate) fn remember(&self, records: Vec<TokenRecord>) {
        let mut known = self.write();
        known.stored.extend(records.into_iter().filter_map(known_entry));
    }

    /// Forgets tokens that another domain has revoked; their connections are closed.
    pub(crate) fn forget(&self, revoked: &[TokenId]) {
        if revoked.is_empty() {
            return;
        }
        self.write().stored.retain(|_, identity| !revoked.contains(&identity.id));
        self.revocations.send_modify(|generation| *generation += 1);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As stored: lower-case hex.
pub(crate) fn hash_text(secret: &str) -> String {
    hex::encode(hash(secret))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn known_entry(record: TokenRecord) -> Option<([u8; 32], Arc<TokenIdentity>)> {
    let mut hash = [0; 32];
    hex::decode_to_slice(&record.hash, &mut hash).ok()?;
    let identity = TokenIdentity {
        id: record.id,
        name: record.name,
        scopes: record.scopes,
        role: record.role,
        device_id: record.device_id,
        expires_at: record.expires_at,
        words: Vec::new(),
    };
    Some((hash, Arc::new(identity)))
}
