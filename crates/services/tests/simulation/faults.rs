//! What goes wrong, and how it is mended.

use std::rc::Rc;
use std::time::Duration;

use crate::node::Node;
use crate::world::World;

/// Does something bad now and then.
pub async fn trouble(world: Rc<World>) {
    let dice = world.dice.apart();
    for _ in 0..1 + dice.roll(5) {
        tokio::time::sleep(dice.ms(50, 1500)).await;
        let number = usize::try_from(dice.roll(world.nodes.borrow().len() as u64)).expect("few nodes");
        let Some(node) = world.nodes.borrow()[number].clone() else { continue };
        match dice.roll(8) {
            0..=2 => {
                world.nodes.borrow_mut()[number] = None;
                node.kill().await;
                tokio::time::sleep(dice.ms(0, 9000)).await;
                let again = Rc::new(Node::start(&world.place, number).await);
                world.nodes.borrow_mut()[number] = Some(again);
            }
            3 => {
                world.nodes.borrow_mut()[number] = None;
                node.leave().await;
                tokio::time::sleep(dice.ms(0, 3000)).await;
                let again = Rc::new(Node::start(&world.place, number).await);
                world.nodes.borrow_mut()[number] = Some(again);
            }
            4 => {
                node.store.freeze(true);
                tokio::time::sleep(dice.ms(100, 9000)).await;
                node.store.freeze(false);
            }
            5 => {
                node.store.take_away(true);
                tokio::time::sleep(dice.ms(100, 4000)).await;
                node.store.take_away(false);
            }
            6 => {
                world.place.air.cut(number, true);
                tokio::time::sleep(dice.ms(100, 5000)).await;
                world.place.air.cut(number, false);
            }
            _ => {
                node.store.tell_late(1 + dice.roll(5));
                node.clock.jump(if dice.chance(50) { 3_600_000 } else { -3_600_000 });
            }
        }
    }
}

/// Begins a new life of every node that another one has replaced, as the program does.
pub async fn replace_fenced(world: Rc<World>) {
    while !world.is_over.get() {
        let count = world.nodes.borrow().len();
        for number in 0..count {
            let Some(node) = world.nodes.borrow()[number].clone() else { continue };
            let fenced = tokio::time::timeout(Duration::from_millis(1), node.services.cluster.fenced_off()).await;
            let is_same = |now: &Option<Rc<Node>>| now.as_ref().is_some_and(|now| Rc::ptr_eq(now, &node));
            if fenced.is_ok() && is_same(&world.nodes.borrow()[number]) {
                world.nodes.borrow_mut()[number] = None;
                node.kill().await;
                let again = Rc::new(Node::start(&world.place, number).await);
                world.nodes.borrow_mut()[number] = Some(again);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything works again.
pub async fn heal(world: &Rc<World>) {
    let count = world.nodes.borrow().len();
    for number in 0..count {
        world.place.air.cut(number, false);
        if let Some(node) = world.nodes.borrow()[number].clone() {
            node.store.freeze(false);
            node.store.take_away(false);
        }
    }
    while world.nodes.borrow().iter().any(Option::is_none) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
