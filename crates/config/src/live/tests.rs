use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use model::FixedClock;
use serde_json::json;

use super::*;
use crate::sample::{Home, Sample, TEXT};

fn live(home: &Home) -> (Arc<FixedClock>, Live<Sample>) {
    let clock = Arc::new(FixedClock::at(1000));
    let live = Live::start(home.layers(), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    (clock, live)
}

#[test]
fn a_reload_tells_what_changed() {
    let home = Home::with(TEXT);
    let (clock, live) = live(&home);
    assert_eq!((live.source(), live.loaded_at().as_ms()), (Some(home.file.clone()), 1000));
    clock.advance_ms(5);
    home.write(
        &TEXT.replace("max_turns = 1_000", "temperature = 0.5").replace("\"ci\"", "\"other\"").replace("-x\"", "-y\""),
    );
    let reloaded = live.reload().unwrap();
    assert_eq!(
        reloaded.changed_keys,
        ["agents.main.max_turns", "agents.main.temperature", "auth.token", "providers.openai.api_key"]
    );
    assert_eq!(reloaded.config.agents["main"].max_turns, Some(20), "the default is back");
    assert!(Arc::ptr_eq(&reloaded.config, &live.current()));
    assert_eq!(live.loaded_at().as_ms(), 1005);
    assert_eq!(live.reload().unwrap().changed_keys, Vec::<String>::new());
    assert_eq!(live.redacted()["auth"]["token"][0]["secret"], json!("[REDACTED]"));
}

#[test]
fn a_failed_load_leaves_everything_as_it_was() {
    let home = Home::with(TEXT);
    let (clock, live) = live(&home);
    let before = live.current();
    clock.advance_ms(5);
    for broken in ["a = \n", "[agents.main]\nmodle = 1\n"] {
        home.write(broken);
        assert!(!live.reload().unwrap_err().is_empty());
    }
    std::fs::remove_file(&home.file).unwrap();
    let gone = live.reload().unwrap_err();
    assert!(gone[0].message.contains("the file is gone"), "{gone}");
    assert!(Arc::ptr_eq(&before, &live.current()));
    assert_eq!(live.loaded_at().as_ms(), 1000);
}

#[test]
fn a_file_that_appears_is_taken_up() {
    let home = Home::empty();
    let (_, live) = live(&home);
    assert_eq!((live.source(), live.source_text()), (None, "defaults".to_owned()));
    assert_eq!(live.reload().unwrap().changed_keys, Vec::<String>::new());
    home.write("[store]\nreaders = 9\n");
    assert_eq!(live.reload().unwrap().changed_keys, ["store.readers"]);
    assert_eq!(live.source_text(), home.file.display().to_string());
}

#[test]
fn a_refused_change_is_taken_back_from_those_that_took_it() {
    let home = Home::with(TEXT);
    let (_, live) = live(&home);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let refuses = Arc::new(AtomicBool::new(true));
    for name in ["first", "second"] {
        let steps = Arc::clone(&steps);
        live.on_change(
            name,
            Box::new(move |old: &Arc<Sample>, new: &Arc<Sample>| {
                steps.lock().unwrap().push(format!("{name} {}->{}", old.store.readers, new.store.readers));
                Ok(())
            }),
        );
    }
    let refusing = Arc::clone(&refuses);
    live.on_change(
        "the pool",
        Box::new(move |_, _| if refusing.load(Ordering::SeqCst) { Err("it is busy".into()) } else { Ok(()) }),
    );

    let before = live.current();
    let mut edit = live.edit().unwrap();
    edit.set("store.readers", &json!(9)).unwrap();
    let refused = live.save(&edit).unwrap_err();
    assert_eq!(refused.to_string(), "the change was taken back: the pool cannot apply the change: it is busy");
    assert_eq!(*steps.lock().unwrap(), ["first 4->9", "second 4->9", "second 9->4", "first 9->4"]);
    assert!(Arc::ptr_eq(&before, &live.current()));
    assert_eq!((home.text().as_str(), live.history().unwrap().len()), (TEXT, 0), "the file is restored too");
    assert!(live.reload_if_edited().is_none());

    refuses.store(false, Ordering::SeqCst);
    steps.lock().unwrap().clear();
    let (saved, reloaded) = live.save(&edit).unwrap();
    assert_eq!((saved.former, reloaded.changed_keys), (Some(1), vec!["store.readers".to_owned()]));
    assert_eq!(live.current().store.readers, 9);
    assert_eq!(*steps.lock().unwrap(), ["first 4->9", "second 4->9"]);
    assert!(live.reload_if_edited().is_none(), "our own save is no edit");

    let (_, reloaded) = live.rollback(1).unwrap();
    assert_eq!((reloaded.changed_keys, home.text().as_str()), (vec!["store.readers".to_owned()], TEXT));
}

#[test]
fn appliers_are_not_asked_when_nothing_changed() {
    let home = Home::with(TEXT);
    let (_, live) = live(&home);
    live.on_change("never", Box::new(|_, _| Err("was asked".into())));
    home.write(&format!("{TEXT}# more words\n"));
    assert_eq!(live.reload().unwrap().changed_keys, Vec::<String>::new());
}

#[test]
fn a_part_that_was_made_anew_takes_the_place_of_the_former_one() {
    let home = Home::with(TEXT);
    let (_, live) = live(&home);
    let asked = Arc::new(Mutex::new(Vec::new()));
    for name in ["former", "present"] {
        let asked = Arc::clone(&asked);
        live.on_change(
            "the pool",
            Box::new(move |_, _| {
                asked.lock().unwrap().push(name);
                Ok(())
            }),
        );
    }
    home.write("[store]\nreaders = 9\n");
    live.reload().unwrap();
    assert_eq!(*asked.lock().unwrap(), ["present"]);
}
