//! Runs, the input that waits for them, and their tool calls.

use std::sync::Arc;

use model::{
    AwaitingInput, ClientTool, ClientTools, EndReason, ErrorKind, InputId, ModelRef, Noun, Run, RunError, RunId,
    RunLimits, RunOptions, RunState, StopCause, Thinking, ToolCallRecord, ToolCallState, ToolChoice, Usage,
};

use super::place::{Reopen, read, write};
use super::rows::{ODD_TEXTS, at, big_text, key, odd_text, run};
use crate::{PendingInput, Store, StoreError};

const MAIN: &str = "agent:main:main";

async fn insert(store: &Arc<dyn Store>, runs: Vec<Run>) {
    write(store, move |tx| runs.iter().try_for_each(|run| tx.runs_mut().insert(run))).await;
}

async fn get(store: &Arc<dyn Store>, id: &str) -> Option<Run> {
    let id = RunId::trusted(id);
    read(store, move |snapshot| snapshot.runs().get(&id)).await
}

fn names(runs: &[Run]) -> String {
    runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>().join(" ")
}

fn over(id: &str, session: &str) -> Run {
    Run { state: RunState::Completed, ended_at: Some(at(20)), ..run(id, session) }
}

/// Every optional part present.
fn full(id: &str) -> Run {
    Run {
        state: RunState::Failed,
        started_by: odd_text(),
        origin: String::new(),
        options: RunOptions {
            model: Some(ModelRef::new("a", "b/c")),
            thinking: Some(Thinking::Minimal),
            limits: RunLimits {
                time_ms: Some(u64::MAX),
                iterations: Some(u32::MAX),
                tokens: Some(0),
                output_tokens: Some(1),
            },
            extra_system: Some(odd_text()),
            temperature: Some(0.7),
            quiet: true,
            tools: Some(vec![String::new(), odd_text()]),
            client_tools: Some(ClientTools {
                tools: vec![ClientTool {
                    name: String::from("look"),
                    description: odd_text(),
                    parameters: serde_json::json!({ "type": "object" }),
                }],
                choice: ToolChoice::Named(String::from("look")),
                parallel: Some(false),
            }),
        },
        model: Some(ModelRef::new("mock", "echo/with/slashes")),
        accepted_at: at(i64::MAX),
        started_at: Some(at(0)),
        ended_at: Some(at(-1)),
        iterations: u32::MAX,
        usage: Usage { input: u64::MAX, output: 2, cache_read: 3, cache_write: 4, reasoning: 5 },
        next_seq: i64::MAX.unsigned_abs(),
        end_reason: Some(EndReason::ToolCalls),
        stop_cause: Some(StopCause::SessionReset),
        error: Some(RunError { kind: ErrorKind::NotFound(Noun::Model), message: odd_text() }),
        response: Some(big_text()),
        awaiting: Some(AwaitingInput {
            input_id: InputId::trusted("inp_1"),
            prompt: odd_text(),
            options: vec![String::new(), odd_text()],
        }),
        ..run(id, MAIN)
    }
}

pub async fn a_run_comes_back_whole_in_every_state(place: &dyn Reopen) {
    let store = place.open().await;
    let mut runs: Vec<Run> =
        RunState::ALL.into_iter().map(|state| Run { state, ..run(state.as_str(), MAIN) }).collect();
    runs.push(full("full \"quoted\" 🦀"));
    for reason in [EndReason::Stop, EndReason::Length, EndReason::ContentFilter, EndReason::Command] {
        runs.push(Run {
            end_reason: Some(reason),
            response: Some(odd_text()),
            ..over(&format!("reason {reason:?}"), MAIN)
        });
    }
    for cause in [
        StopCause::User,
        StopCause::StopCommand,
        StopCause::SessionDeleted,
        StopCause::Timeout,
        StopCause::Shutdown,
        StopCause::ClientGone,
    ] {
        runs.push(Run {
            stop_cause: Some(cause),
            response: Some(String::new()),
            ..over(&format!("cause {cause:?}"), MAIN)
        });
    }
    for kind in [
        ErrorKind::InvalidParams,
        ErrorKind::NotFound(Noun::Agent),
        ErrorKind::NotFound(Noun::ConfigSection),
        ErrorKind::NotFound(Noun::Token),
        ErrorKind::Unauthenticated,
        ErrorKind::Denied,
        ErrorKind::Conflict,
        ErrorKind::RateLimited,
        ErrorKind::Busy,
        ErrorKind::Timeout,
        ErrorKind::ToolFailed,
        ErrorKind::ProviderFailed,
        ErrorKind::ProviderRefused,
        ErrorKind::Unavailable,
        ErrorKind::Internal,
    ] {
        runs.push(Run {
            error: Some(RunError { kind, message: String::new() }),
            ..over(&format!("kind {kind:?}"), MAIN)
        });
    }
    insert(&store, runs.clone()).await;
    for expected in runs {
        assert_eq!(get(&store, expected.id.as_str()).await, Some(expected));
    }
    // And through an update, both ways.
    let (plain, full) = (Run { id: RunId::trusted("pending"), ..full("pending") }, run("full \"quoted\" 🦀", MAIN));
    for expected in [plain, full] {
        let updated = expected.clone();
        assert!(write(&store, move |tx| tx.runs_mut().update(&updated)).await);
        assert_eq!(get(&store, expected.id.as_str()).await, Some(expected));
    }
}

pub async fn a_run_id_is_taken_once_and_an_unknown_run_is_not_updated(place: &dyn Reopen) {
    let store = place.open().await;
    insert(&store, vec![run("run_1", MAIN)]).await;
    let taken = store.write(|tx| tx.runs_mut().insert(&run("run_1", "agent:main:two"))).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    assert_eq!(get(&store, "run_1").await, Some(run("run_1", MAIN)));
    assert!(!write(&store, |tx| tx.runs_mut().update(&run("run_2", MAIN))).await);
    assert_eq!(get(&store, "run_2").await, None);
}

pub async fn only_an_unfinished_run_is_gone_on_with(place: &dyn Reopen) {
    let store = place.open().await;
    let wished = Run { stop_cause: Some(StopCause::User), ..run("wished", MAIN) };
    insert(&store, vec![run("plain", MAIN), wished, over("over", MAIN)]).await;
    let go_on = |run: Run| {
        let store = Arc::clone(&store);
        async move { write(&store, move |tx| tx.runs_mut().update_unfinished(&run)).await }
    };
    let running = |id: &str| Run { state: RunState::Running, iterations: 3, next_seq: 7, ..run(id, MAIN) };
    assert!(!go_on(running("over")).await);
    assert_eq!(get(&store, "over").await, Some(over("over", MAIN)));
    assert!(!go_on(running("unknown")).await);
    assert_eq!(get(&store, "unknown").await, None);

    assert!(go_on(running("plain")).await);
    assert_eq!(get(&store, "plain").await, Some(running("plain")));
    assert!(go_on(running("wished")).await);
    let kept = Run { stop_cause: Some(StopCause::User), ..running("wished") };
    assert_eq!(get(&store, "wished").await, Some(kept), "the wish to stop stays");

    // The end says itself why, and comes once.
    assert!(go_on(over("wished", MAIN)).await);
    assert_eq!(get(&store, "wished").await, Some(over("wished", MAIN)));
    assert!(!go_on(running("wished")).await);
    let unfinished = read(&store, |snapshot| snapshot.runs().unfinished()).await;
    assert_eq!(names(&unfinished), "plain");
}

pub async fn unfinished_runs_come_in_the_order_of_acceptance(place: &dyn Reopen) {
    let store = place.open().await;
    // Equal times and falling ids: only the order of the inserts tells.
    insert(&store, vec![run("d", MAIN), over("c", MAIN), run("b", "agent:main:two"), run("a", MAIN)]).await;
    let unfinished = |store: &Arc<dyn Store>| {
        let store = Arc::clone(store);
        async move {
            read(&store, |snapshot| {
                Ok((names(&snapshot.runs().unfinished()?), names(&snapshot.runs().unfinished_of(&key(MAIN))?)))
            })
            .await
        }
    };
    assert_eq!(unfinished(&store).await, (String::from("d b a"), String::from("d a")));
    write(&store, |tx| {
        tx.runs_mut().update(&Run { state: RunState::Running, started_at: Some(at(11)), ..run("d", MAIN) })
    })
    .await;
    assert_eq!(unfinished(&store).await, (String::from("d b a"), String::from("d a")), "running ones keep their place");
    for state in [RunState::Completed, RunState::Cancelled, RunState::Failed] {
        write(&store, move |tx| tx.runs_mut().update(&Run { state, ..run("d", MAIN) })).await;
        assert_eq!(unfinished(&store).await, (String::from("b a"), String::from("a")), "{state:?}");
    }
}

pub async fn recent_runs_come_newest_first(place: &dyn Reopen) {
    let store = place.open().await;
    insert(&store, vec![run("c", MAIN), over("b", MAIN), run("x", "agent:main:two"), over("a", MAIN)]).await;
    let recent = |limit| {
        let store = Arc::clone(&store);
        async move { names(&read(&store, move |snapshot| snapshot.runs().recent_of(&key(MAIN), limit)).await) }
    };
    assert_eq!(recent(10).await, "a b c");
    assert_eq!(recent(2).await, "a b");
    assert_eq!(recent(0).await, "");
}

pub async fn inputs_wait_in_order_until_cleared(place: &dyn Reopen) {
    let store = place.open().await;
    insert(&store, vec![run("one", MAIN), run("two", MAIN)]).await;
    let inputs: Vec<PendingInput> = (0..)
        .zip(ODD_TEXTS)
        .map(|(number, text)| PendingInput {
            id: InputId::trusted(format!("inp_{}", 9 - number)),
            text: text.to_owned(),
            at: at(-number),
        })
        .collect();
    let to_write = inputs.clone();
    write(&store, move |tx| {
        to_write.iter().try_for_each(|input| tx.runs_mut().add_input(&RunId::trusted("one"), input))?;
        tx.runs_mut().add_input(
            &RunId::trusted("two"),
            &PendingInput { id: InputId::trusted("inp_two"), text: big_text(), at: at(1) },
        )
    })
    .await;
    let waiting = |run: &'static str| {
        let store = Arc::clone(&store);
        async move { read(&store, move |snapshot| snapshot.runs().inputs(&RunId::trusted(run))).await }
    };
    assert_eq!(waiting("one").await, inputs);
    let (gone, kept) = (InputId::trusted("inp_gone"), inputs[1..].to_vec());
    let taken = [inputs[0].id.clone(), gone];
    write(&store, move |tx| tx.runs_mut().remove_inputs(&RunId::trusted("one"), &taken)).await;
    assert_eq!(waiting("one").await, kept);
    write(&store, |tx| tx.runs_mut().clear_inputs(&RunId::trusted("one"))).await;
    assert_eq!(waiting("one").await, []);
    assert_eq!(waiting("two").await.len(), 1);
    let nowhere = PendingInput { id: InputId::trusted("inp_x"), text: String::new(), at: at(1) };
    let refused = store.write(move |tx| tx.runs_mut().add_input(&RunId::trusted("gone"), &nowhere)).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "input for a run that is not there: {refused:?}");
}

pub async fn tool_calls_keep_their_order_and_are_replaced_in_place(place: &dyn Reopen) {
    let store = place.open().await;
    insert(&store, vec![run("one", MAIN), run("two", MAIN)]).await;
    let call = |run: &str, id: &str, state| ToolCallRecord {
        run_id: RunId::trusted(run),
        call_id: id.to_owned(),
        name: String::from("shell"),
        arguments: odd_text(),
        state,
        result: None,
        started_at: None,
        ended_at: None,
    };
    let mut calls: Vec<ToolCallRecord> = ToolCallState::ALL
        .into_iter()
        .map(|state| call("one", &format!("call {} {}", odd_text().replace('\0', ""), state.as_str()), state))
        .collect();
    let mut to_write = calls.clone();
    to_write.push(call("two", &calls[0].call_id, ToolCallState::Pending));
    write(&store, move |tx| to_write.iter().try_for_each(|call| tx.tool_calls_mut().put(call))).await;
    let of_run = |run: &'static str| {
        let store = Arc::clone(&store);
        async move { read(&store, move |snapshot| snapshot.tool_calls().of_run(&RunId::trusted(run))).await }
    };
    assert_eq!(of_run("one").await, calls);

    let done = ToolCallRecord {
        name: odd_text(),
        arguments: big_text(),
        state: ToolCallState::Succeeded,
        result: Some(odd_text()),
        started_at: Some(at(1)),
        ended_at: Some(at(2)),
        ..calls[0].clone()
    };
    calls[0] = done.clone();
    write(&store, move |tx| tx.tool_calls_mut().put(&done)).await;
    assert_eq!(of_run("one").await, calls, "in its place");
    assert_eq!(of_run("two").await.len(), 1);
    assert_eq!(of_run("gone").await, []);
}
