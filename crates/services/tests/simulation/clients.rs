//! Clients: they talk, change their minds, retry, and follow.

use std::rc::Rc;
use std::time::Duration;

use events::Delivery;
use model::{Cursor, ErrorKind, Principal, RunId, SessionKey, StopCause};
use services::runs::NewRun;
use services::sessions::CompactOptions;

use crate::world::{Said, World};

/// One client's day.
pub async fn talk(world: Rc<World>, client: u64) {
    let dice = world.dice.apart();
    for step in 0..3 + dice.roll(5) {
        tokio::time::sleep(dice.ms(0, 900)).await;
        let session = format!("agent:main:s{}", dice.roll(3));
        let session = SessionKey::parse(&session).expect("a legal key");
        match dice.roll(20) {
            0..=11 => say(&world, &session, format!("message {client}-{step}"), dice.chance(40)).await,
            12..=14 => cancel(&world).await,
            15..=17 => answer(&world).await,
            18 => reset(&world, &session).await,
            _ => compact(&world, &session).await,
        }
    }
}

/// Says something; a client with ids of its own says it again until it knows that it was taken.
async fn say(world: &Rc<World>, session: &SessionKey, text: String, has_id: bool) {
    let id = has_id.then(|| RunId::trusted(format!("own-{text}")));
    for _ in 0..200 {
        let Some(node) = world.node() else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let new = NewRun { id: id.clone(), ..NewRun::new(session.clone(), text.clone(), "simulation") };
        let principal = Principal::gateway();
        let accepted = node.services.runs.accept(&principal, new);
        // A client does not wait for ever either.
        let accepted = tokio::time::timeout(Duration::from_secs(30), accepted).await;
        match accepted {
            Ok(Ok(accepted)) => {
                world.said.borrow_mut().push(Said { run: accepted.run.id.clone(), text });
                tokio::time::sleep(world.dice.ms(0, 20)).await;
                return;
            }
            Ok(Err(error)) if error.kind == ErrorKind::Busy && id.is_none() => return,
            // Whoever has no id of its own cannot know whether it was taken, and leaves it at that.
            Ok(Err(_)) | Err(_) if id.is_none() => {
                world.unsure.borrow_mut().push(text);
                return;
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    world.unsure.borrow_mut().push(text);
}

fn any_run(world: &Rc<World>) -> Option<RunId> {
    let said = world.said.borrow();
    (!said.is_empty()).then(|| world.dice.pick(&said).run.clone())
}

async fn cancel(world: &Rc<World>) {
    if let (Some(node), Some(run)) = (world.node(), any_run(world)) {
        let _ = tokio::time::timeout(Duration::from_secs(30), node.services.runs.cancel(&run, StopCause::User)).await;
    }
}

async fn answer(world: &Rc<World>) {
    if let (Some(node), Some(run)) = (world.node(), any_run(world)) {
        let _ = tokio::time::timeout(Duration::from_secs(30), node.services.runs.respond(&run, "the left one")).await;
    }
}

async fn reset(world: &Rc<World>, session: &SessionKey) {
    if let Some(node) = world.node() {
        let reset = node.services.runs.reset_session(session, "simulation");
        let _ = tokio::time::timeout(Duration::from_secs(60), reset).await;
    }
}

async fn compact(world: &Rc<World>, session: &SessionKey) {
    if let Some(node) = world.node() {
        let options = CompactOptions { keep_recent: Some(2), ..CompactOptions::default() };
        let _ = tokio::time::timeout(Duration::from_secs(60), node.services.runs.compact(session, options)).await;
    }
}

/// Follows all events, now here, now there, and goes on where it was cut off.
pub async fn watch(world: Rc<World>) {
    let dice = world.dice.apart();
    let mut last = Cursor(0);
    while !world.is_over.get() {
        let Some(node) = world.node() else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut events = node.services.bus.subscribe(Some(last));
        let stay = tokio::time::sleep(dice.ms(1, 1500));
        tokio::pin!(stay);
        loop {
            tokio::select! {
                biased;
                () = &mut stay => break,
                delivery = events.next() => match delivery {
                    Ok(Delivery::Event(envelope)) => if let Some(cursor) = envelope.cursor {
                        assert_eq!(cursor, last.next(), "a listener sees each durable event once, in order");
                        last = cursor;
                        world.seen.borrow_mut().push((cursor, envelope.event.clone()));
                    },
                    Ok(Delivery::Resync { oldest, newest }) => panic!("nothing is missing: {oldest:?} {newest:?} after {last:?}"),
                    Ok(Delivery::Dropped(_)) => {}
                    Ok(Delivery::Closed) | Err(_) => break,
                },
            }
        }
    }
}
