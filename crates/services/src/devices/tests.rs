use std::sync::Arc;

use model::{Clock, DeviceFacts, ErrorKind, Event, FixedClock, Ids, Noun, PairState, Principal, Scope, ScopeSet};
use store::Store;
use store_sqlite::{SqliteOptions, SqliteStore};

use super::*;

struct House {
    devices: Devices,
    tokens: Arc<Tokens>,
    bus: Arc<EventBus>,
    clock: Arc<FixedClock>,
    _folder: tempfile::TempDir,
}

async fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(folder.path().join("test.db"), SqliteOptions::default()).unwrap());
    let clock = Arc::new(FixedClock::at(1_790_000_000_000));
    let ids = Arc::new(Ids::seeded(Arc::clone(&clock) as Arc<dyn Clock>, 1));
    let info = crate::GatewayInfo {
        version: "0.0.0",
        build: "test",
        started_at: clock.now(),
        instance_id: String::from("i"),
        host: String::from("test"),
        home: folder.path().to_owned(),
        pid: 1,
    };
    let joining = crate::cluster::Joining {
        store: Arc::clone(&store),
        clock: clock.clone(),
        ids: &ids,
        info: &info,
        options: crate::NodeOptions::new("test"),
    };
    let cluster = crate::Cluster::join(joining).await.unwrap();
    let (bus, _) = crate::log::open(&store, &cluster, &Arc::default()).await.unwrap();
    let tokens = Arc::new(Tokens::load(Arc::clone(&store), clock.clone(), Arc::clone(&ids)).await.unwrap());
    let parts = Parts { store, clock: clock.clone(), ids, bus: Arc::clone(&bus), tokens: Arc::clone(&tokens) };
    House { devices: Devices::open(parts).await.unwrap(), tokens, bus, clock, _folder: folder }
}

fn scopes(list: &[Scope]) -> ScopeSet {
    list.iter().copied().collect()
}

fn knock(list: &[Scope], is_local: bool) -> Knock {
    let device = DeviceFacts { device_id: "d1".into(), public_key: "k1".into(), ..DeviceFacts::default() };
    Knock { device, role: "operator".into(), scopes: scopes(list), is_local }
}

fn granted(admission: Admission) -> DeviceGrant {
    match admission {
        Admission::Admitted(grant) => grant,
        Admission::Waiting { reason, .. } => panic!("the device waits: {reason:?}"),
    }
}

fn waiting(admission: Admission) -> (PairRequest, WaitReason) {
    match admission {
        Admission::Waiting { request, reason, .. } => (request, reason),
        Admission::Admitted(_) => panic!("the device was admitted"),
    }
}

#[tokio::test]
async fn a_local_device_is_let_in_and_keeps_its_token_as_long_as_it_suffices() {
    let house = house().await;
    let first = granted(house.devices.admit(knock(&[Scope::Read], true)).await.unwrap());
    assert_eq!(first.secret.expose_secret().len(), 32);
    let again = granted(house.devices.admit(knock(&[Scope::Read], true)).await.unwrap());
    assert_eq!(first, again);
    let identity = house.tokens.authenticate(first.secret.expose_secret()).unwrap();
    assert_eq!((identity.device_id.as_deref(), identity.scopes), (Some("d1"), scopes(&[Scope::Read])));

    let wider = granted(house.devices.admit(knock(&[Scope::Read, Scope::Write], true)).await.unwrap());
    assert_ne!(wider.secret, first.secret);
    assert_eq!(house.tokens.authenticate(first.secret.expose_secret()), None);
}

#[tokio::test]
async fn a_remote_device_waits_for_an_operator_and_a_repeat_widens_its_request() {
    let house = house().await;
    let mut events = house.bus.subscribe(None);
    let (request, reason) = waiting(house.devices.admit(knock(&[Scope::Read], false)).await.unwrap());
    assert_eq!(reason, WaitReason::NotPaired);
    let (repeat, _) = waiting(house.devices.admit(knock(&[Scope::Write], false)).await.unwrap());
    assert_eq!((&repeat.request_id, repeat.scopes), (&request.request_id, scopes(&[Scope::Read, Scope::Write])));

    let operator = Principal::gateway();
    house.devices.approve(&operator, &request.request_id).await.unwrap();
    let told: Vec<PairState> = std::iter::from_fn(|| events.try_next())
        .filter_map(|delivery| match delivery {
            events::Delivery::Event(envelope) => match &envelope.event {
                Event::PairingChanged { state, .. } => Some(*state),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(told, vec![PairState::Requested, PairState::Approved]);
    granted(house.devices.admit(knock(&[Scope::Read, Scope::Write], false)).await.unwrap());
    let (_, reason) = waiting(house.devices.admit(knock(&[Scope::Admin], false)).await.unwrap());
    assert_eq!(reason, WaitReason::ScopeUpgrade);
    let (_, reason) = waiting(house.devices.admit(Knock { role: "node".into(), ..knock(&[], false) }).await.unwrap());
    assert_eq!(reason, WaitReason::RoleUpgrade);
}

#[tokio::test]
async fn a_request_expires_after_five_minutes() {
    let house = house().await;
    let (request, _) = waiting(house.devices.admit(knock(&[Scope::Read], false)).await.unwrap());
    house.clock.advance_ms(300_000);
    let error = house.devices.approve(&Principal::gateway(), &request.request_id).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::NotFound(Noun::Device), "unknown requestId"));
    let (later, _) = waiting(house.devices.admit(knock(&[Scope::Read], false)).await.unwrap());
    assert_ne!(later.request_id, request.request_id);
}

#[tokio::test]
async fn nobody_approves_more_than_they_hold() {
    let house = house().await;
    let (request, _) = waiting(house.devices.admit(knock(&[Scope::Admin], false)).await.unwrap());
    let by = Principal::operator("p", scopes(&[Scope::Pairing, Scope::Read]));
    assert_eq!(house.devices.approve(&by, &request.request_id).await.unwrap_err().kind, ErrorKind::Denied);
    let (pending, paired) = house.devices.list().await.unwrap();
    assert_eq!((pending.len(), paired.len()), (1, 0));
    house.devices.reject(&request.request_id).await.unwrap();
    assert_eq!(house.devices.list().await.unwrap(), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_rotated_and_a_revoked_token_are_no_longer_known() {
    let house = house().await;
    let first = granted(house.devices.admit(knock(&[Scope::Read], true)).await.unwrap());
    let mut revocations = house.tokens.revocations();
    let rotated = house.devices.rotate("d1", "operator", None).await.unwrap();
    assert_eq!(house.tokens.authenticate(first.secret.expose_secret()), None);
    assert!(revocations.has_changed().unwrap());
    revocations.mark_unchanged();
    house.devices.revoke("d1", "operator").await.unwrap();
    assert!(revocations.has_changed().unwrap());
    assert_eq!(house.tokens.authenticate(rotated.secret.expose_secret()), None);
    assert!(house.devices.was_revoked("d1", "operator", rotated.secret.expose_secret()).await.unwrap());
    assert!(!house.devices.was_revoked("d1", "operator", first.secret.expose_secret()).await.unwrap());
    // With a shared secret it gets a new one.
    let fresh = granted(house.devices.admit(knock(&[Scope::Read], true)).await.unwrap());
    assert_ne!(fresh.secret, rotated.secret);
    assert_eq!(house.devices.rotate("d2", "operator", None).await.unwrap_err().message, "unknown deviceId/role");
    let wider = house.devices.rotate("d1", "operator", Some(scopes(&[Scope::Admin]))).await.unwrap_err();
    assert_eq!(wider.kind, ErrorKind::Denied);
}
