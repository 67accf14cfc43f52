use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::sample::{Home, Sample, TEXT};
use crate::starter;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// Saves `[store] readers = n`.
fn save_readers(file: &ConfigFile, n: u8, now: i64) -> Result<Saved<Sample>, EditError> {
    let mut edit = file.edit()?;
    edit.set("store.readers", &json!(n))?;
    file.save(&edit, at(now))
}

fn folder_names(home: &Home) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(&home.path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_save_is_on_the_disk_and_the_former_text_is_kept() {
    let home = Home::with(TEXT);
    fs::set_permissions(&home.file, fs::Permissions::from_mode(0o640)).unwrap();
    let file = ConfigFile::new(home.layers());
    let saved = save_readers(&file, 9, 1000).unwrap();
    assert_eq!(saved.loaded.config.store.readers, 9);
    assert_eq!(saved.former, Some(1));
    assert_eq!(home.text(), format!("{TEXT}\n[store]\nreaders = 9\n"));
    assert_eq!(mode(&home.file), 0o640, "the mode is kept");
    assert_eq!(folder_names(&home), ["backups", "config.toml"], "no draft is left");

    let history = file.history().unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].number, history[0].replaced_at, history[0].bytes), (1, at(1000), TEXT.len() as u64));
    assert_eq!(mode(&history[0].path), 0o600);
    assert_eq!(file.version_text(1).unwrap(), TEXT);

    assert_eq!(save_readers(&file, 9, 2000).unwrap().former, None, "nothing changed, nothing kept");
    assert_eq!(file.history().unwrap().len(), 1);
}

#[test]
fn a_new_file_is_for_its_owner_alone() {
    let home = Home::empty();
    let saved = save_readers(&ConfigFile::new(home.layers()), 9, 1).unwrap();
    assert_eq!(saved.former, None);
    assert_eq!((home.text().as_str(), mode(&home.file)), ("[store]\nreaders = 9\n", 0o600));
}

#[test]
fn a_change_that_is_not_valid_is_not_written() {
    let home = Home::with(TEXT);
    let file = ConfigFile::new(home.layers());
    let EditError::Invalid(problems) = save_readers(&file, 65, 1).unwrap_err() else { panic!() };
    assert_eq!(problems[0].key, "store.readers");
    assert_eq!(problems[0].line, Some(42));
    assert_eq!((home.text().as_str(), file.history().unwrap().len()), (TEXT, 0));
}

#[test]
fn a_file_that_changed_in_the_meantime_is_not_overwritten() {
    let home = Home::with(TEXT);
    let file = ConfigFile::new(home.layers());
    let mut edit = file.edit().unwrap();
    edit.set("store.readers", &json!(9)).unwrap();
    home.write("# someone else\n");
    let refused = file.save::<Sample>(&edit, at(1)).unwrap_err();
    assert!(refused.to_string().contains("changed since it was read"), "{refused}");
    assert_eq!(home.text(), "# someone else\n");
    fs::remove_file(&home.file).unwrap();
    assert!(matches!(file.save::<Sample>(&edit, at(1)), Err(EditError::Changed { .. })));
}

#[test]
fn of_two_that_save_at_once_one_is_refused() {
    let home = Home::with(TEXT);
    let file = ConfigFile::new(home.layers());
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let edits: Vec<Edit> = (1..=8)
            .map(|n| {
                let mut edit = file.edit().unwrap();
                edit.set("store.readers", &json!(n)).unwrap();
                edit
            })
            .collect();
        let file = &file;
        let threads: Vec<_> =
            edits.into_iter().map(|edit| scope.spawn(move || file.save::<Sample>(&edit, at(1)).is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|saved| **saved).count(), 1);
    assert_eq!(file.history().unwrap().len(), 1);
}

#[test]
fn a_former_version_can_be_put_back() {
    let home = Home::with(TEXT);
    let file = ConfigFile::new(home.layers());
    save_readers(&file, 9, 1).unwrap();
    save_readers(&file, 10, 2).unwrap();
    let saved = file.rollback::<Sample>(1, at(3)).unwrap();
    assert_eq!((home.text().as_str(), saved.former), (TEXT, Some(3)));
    let kept: Vec<(u64, i64)> = file.history().unwrap().iter().map(|v| (v.number, v.replaced_at.as_ms())).collect();
    assert_eq!(kept, [(3, 3), (2, 2), (1, 1)]);
    home.write("broken = \n");
    file.rollback::<Sample>(1, at(4)).unwrap();
    assert_eq!(home.text(), TEXT, "also over a file that is no TOML");
    assert!(matches!(file.rollback::<Sample>(99, at(5)), Err(EditError::NoVersion(99))));
}

#[test]
fn the_history_is_bounded() {
    let home = Home::with(TEXT);
    let file = ConfigFile::new(home.layers());
    for n in 0..HISTORY_MAX + 5 {
        save_readers(&file, if n % 2 == 0 { 5 } else { 6 }, i64::try_from(n).unwrap()).unwrap();
    }
    let numbers: Vec<u64> = file.history().unwrap().iter().map(|version| version.number).collect();
    assert_eq!(numbers, (6..=55).rev().collect::<Vec<u64>>());
}

#[test]
fn a_link_is_followed_and_stays_a_link() {
    let home = Home::empty();
    let target = home.path.join("elsewhere.toml");
    fs::write(&target, "# kept\n").unwrap();
    std::os::unix::fs::symlink(&target, &home.file).unwrap();
    save_readers(&ConfigFile::new(home.layers()), 9, 1).unwrap();
    assert!(fs::symlink_metadata(&home.file).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "# kept\n\n[store]\nreaders = 9\n");
}

#[test]
fn the_first_file_is_written_once() {
    let home = Home::empty();
    let path = home.path.join("new/home/config.toml");
    assert!(starter::write(&path, "# first\n").unwrap());
    assert!(!starter::write(&path, "# second\n").unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "# first\n");
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
}
