//! Words that must not stand in the code of the gateway, and where they may.
//!
//! `std::time::Instant` is not among them: a duration that is measured and used in one place needs no
//! clock that a test could set, and deadlines go through tokio's time, which tests can pause.

use super::finding::Finding;
use super::source::{Source, occurrences};

struct Ban {
    rule: &'static str,
    words: &'static [&'static str],
    /// Crates in which the words may stand; a `*` at the end stands for any rest.
    except: &'static [&'static str],
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        rule: "clock",
        words: &["SystemTime::now", "Utc::now", "Local::now", "jiff::Timestamp::now", "Zoned::now", "Uuid::now_v7"],
        except: &["model", "testkit"],
        why: "time is handed in as `model::Clock`, so that a test can set it",
    },
    Ban {
        rule: "random",
        words: &["rand::", "fastrand::", "getrandom::", "thread_rng", "OsRng", "SystemRandom::new", "Uuid::new_v4"],
        except: &["model", "testkit"],
        why: "ids and secrets come from `model::Ids`, so that the same seed gives the same run",
    },
    Ban {
        rule: "bounded",
        words: &[
            "unbounded_channel",
            "UnboundedSender",
            "UnboundedReceiver",
            "mpsc::unbounded",
            "flume::unbounded",
            "crossbeam_channel::unbounded",
            "mpsc::channel()",
        ],
        except: &[],
        why: "every queue has a bound and says what happens when it is full",
    },
    Ban {
        rule: "spawn",
        words: &["tokio::spawn", "task::spawn", "Handle::current().spawn"],
        except: &["testkit"],
        why: "spawn on a TaskTracker or JoinSet that stop waits for; \
              excuse a handle that is joined with `// tidy: allow(spawn): where it is joined`",
    },
    Ban {
        rule: "unfinished",
        words: &["dbg!", "todo!", "unimplemented!"],
        except: &[],
        why: "a thing works or is not there",
    },
    Ban {
        rule: "store",
        words: &["store::", "use store;", "store_sqlite::", "store_postgres::"],
        except: &["store", "store-*", "services", "patchbay", "testkit"],
        why: "only services read and write the store; ask one of them",
    },
];

/// Breaches of one file. `package` is the folder of its crate.
pub fn findings(package: &str, source: &Source) -> Vec<Finding> {
    let mut findings = vec![];
    for ban in BANS.iter().filter(|ban| !ban.except.iter().any(|name| covers(name, package))) {
        for word in ban.words {
            for at in occurrences(&source.code, word) {
                let is_inner_path = word.ends_with("::") && source.code[..at].ends_with("::");
                let is_prefix_of_blocking = source.code[at + word.len()..].starts_with("_blocking");
                if source.is_test(at) || is_inner_path || is_prefix_of_blocking {
                    continue;
                }
                if source.excuse(ban.rule, at).is_none() {
                    let word = word.trim_end_matches(';').trim_end_matches("::");
                    findings.push(Finding::error(ban.rule, source.place(at), format!("`{word}` stands here"), ban.why));
                }
            }
        }
    }
    findings
}

fn covers(pattern: &str, package: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => package.starts_with(start),
        None => pattern == package,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(package: &str, text: &str) -> Vec<&'static str> {
        let source = Source::new(&format!("crates/{package}/src/lib.rs"), text);
        findings(package, &source).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn each_ban_finds_its_words() {
        let text = "fn f() { SystemTime::now(); rand::random(); mpsc::unbounded_channel(); tokio::spawn(x); todo!(); }";
        assert_eq!(rules("ops", text), ["clock", "random", "bounded", "spawn", "unfinished"]);
        assert_eq!(rules("ops", "use store::Store;"), ["store"]);
        assert_eq!(rules("ops", "fn f() { std::sync::mpsc::channel() }"), ["bounded"]);
    }

    #[test]
    fn what_is_allowed_is_left_alone() {
        assert_eq!(rules("model", "fn f() { SystemTime::now(); getrandom::fill(b); }"), [""; 0]);
        assert_eq!(rules("services", "use store::Store;"), [""; 0]);
        assert_eq!(rules("ops", "use services::store::Thing; fn f() { restore::x() }"), [""; 0]);
        assert_eq!(
            rules("ops", "fn f() { tracker.spawn(x); tokio::task::spawn_blocking(y); Instant::now(); }"),
            [""; 0]
        );
        assert_eq!(rules("ops", "fn f() { mpsc::channel(8); }"), [""; 0]);
        assert_eq!(
            rules("ops", "// a todo!() in words\n#[cfg(test)] mod tests { fn f() { tokio::spawn(x); } }"),
            [""; 0]
        );
    }

    #[test]
    fn a_reason_excuses_one_line() {
        let text = "fn f() {\n    // tidy: allow(spawn): joined in stop\n    tokio::spawn(x);\n    tokio::spawn(y);\n}";
        let source = Source::new("crates/ops/src/lib.rs", text);
        let places: Vec<String> = findings("ops", &source).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["crates/ops/src/lib.rs:4"]);
    }
}
