//! Credentials.

use std::sync::Arc;

use model::{Scope, ScopeSet, TokenId};

use super::place::{Reopen, read, write};
use super::rows::{at, odd_text};
use crate::{Store, StoreError, TokenRecord};

fn token(id: &str, created_ms: i64) -> TokenRecord {
    TokenRecord {
        id: TokenId::trusted(id),
        name: format!("token {id}"),
        hash: format!("hash of {id}"),
        scopes: ScopeSet::OPERATOR,
        role: String::from("operator"),
        device_id: None,
        parent: None,
        created_at: at(created_ms),
        expires_at: None,
        revoked_at: None,
    }
}

async fn put(store: &Arc<dyn Store>, tokens: Vec<TokenRecord>) {
    write(store, move |tx| tokens.iter().try_for_each(|token| tx.tokens_mut().put(token))).await;
}

async fn ids(store: &Arc<dyn Store>) -> String {
    let tokens = read(store, |snapshot| snapshot.tokens().list()).await;
    tokens.iter().map(|token| token.id.as_str()).collect::<Vec<_>>().join(" ")
}

pub async fn a_token_comes_back_whole_and_is_found_by_its_hash(place: &dyn Reopen) {
    let store = place.open().await;
    let full = TokenRecord {
        name: odd_text(),
        scopes: Scope::ALL.into_iter().collect(),
        role: String::from("device"),
        device_id: Some(odd_text()),
        parent: Some(TokenId::trusted("tok_gone")),
        expires_at: Some(at(i64::MAX)),
        revoked_at: Some(at(i64::MIN)),
        ..token("tok_1", -1)
    };
    let empty = TokenRecord {
        name: String::new(),
        scopes: ScopeSet::EMPTY,
        role: String::new(),
        device_id: Some(String::new()),
        ..token("tok_2", 1)
    };
    put(&store, vec![full.clone(), empty.clone()]).await;
    for expected in [full.clone(), empty] {
        let (hash, id) = (expected.hash.clone(), expected.id.clone());
        let found =
            read(&store, move |snapshot| Ok((snapshot.tokens().by_hash(&hash)?, snapshot.tokens().get(&id)?))).await;
        assert_eq!(found, (Some(expected.clone()), Some(expected)));
    }
    let replaced = TokenRecord { hash: String::from("new hash"), ..token("tok_1", 5) };
    put(&store, vec![replaced.clone()]).await;
    let found = read(&store, move |snapshot| {
        let tokens = snapshot.tokens();
        Ok((tokens.by_hash(&full.hash)?, tokens.by_hash("new hash")?, tokens.get(&TokenId::trusted("tok_3"))?))
    })
    .await;
    assert_eq!(found, (None, Some(replaced), None));
}

pub async fn a_hash_belongs_to_one_token(place: &dyn Reopen) {
    let store = place.open().await;
    put(&store, vec![token("tok_1", 1), token("tok_2", 2)]).await;
    for id in ["tok_2", "tok_3"] {
        let thief = TokenRecord { hash: token("tok_1", 1).hash, ..token(id, 3) };
        let refused = store.write(move |tx| tx.tokens_mut().put(&thief)).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{id}: {refused:?}");
    }
    let owner = read(&store, |snapshot| snapshot.tokens().by_hash("hash of tok_1")).await;
    assert_eq!(owner, Some(token("tok_1", 1)));
    assert_eq!(ids(&store).await, "tok_2 tok_1");
}

pub async fn tokens_are_listed_newest_first(place: &dyn Reopen) {
    let store = place.open().await;
    assert_eq!(ids(&store).await, "");
    let revoked = TokenRecord { revoked_at: Some(at(2)), ..token("revoked", 5) };
    let expired = TokenRecord { expires_at: Some(at(2)), ..token("expired", 3) };
    put(&store, vec![token("old", 1), revoked, token("new", 9), expired]).await;
    assert_eq!(ids(&store).await, "new revoked expired old");
}

pub async fn old_tokens_are_pruned(place: &dyn Reopen) {
    let store = place.open().await;
    let ended = |id: &str, expires_ms: Option<i64>, revoked_ms: Option<i64>| TokenRecord {
        expires_at: expires_ms.map(at),
        revoked_at: revoked_ms.map(at),
        ..token(id, 1)
    };
    put(
        &store,
        vec![
            ended("a", None, None),
            ended("b", Some(10), None),
            ended("c", Some(9), None),
            ended("d", None, Some(10)),
            ended("e", None, Some(9)),
            ended("f", Some(100), Some(9)),
        ],
    )
    .await;
    let prune = |ms| write(&store, move |tx| tx.tokens_mut().prune(at(ms)));
    assert_eq!(prune(9).await, 0);
    assert_eq!(prune(10).await, 3);
    assert_eq!(prune(10).await, 0);
    assert_eq!(ids(&store).await, "d b a");
}
