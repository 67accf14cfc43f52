use std::sync::atomic::{AtomicU32, Ordering};

use model::{FixedClock, NewMessage};
use tokio::time::Instant;

use super::*;
use crate::chat::{Chunk, FinishReason};
use crate::provider::Provider;
use crate::testkit::{Gate, Scripted, ScriptedProvider};

use ProviderErrorKind::*;

struct Bench {
    clock: Arc<FixedClock>,
    router: Router,
    asked: AtomicU32,
}

impl Bench {
    fn new(providers: &[&ScriptedProvider]) -> Self {
        let clock = Arc::new(FixedClock::at(1_000));
        let registry = Arc::new(Registry::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let boxed = providers.iter().map(|provider| Arc::new((*provider).clone()) as Arc<dyn Provider>);
        registry.replace(boxed, None);
        let router = Router::new(registry, Arc::clone(&clock) as Arc<dyn Clock>, RetryPolicy::default(), 7);
        Self { clock, router, asked: AtomicU32::new(0) }
    }

    async fn open(&self, candidates: &[&str]) -> Result<Opened, ProviderError> {
        self.open_until(candidates, &CancellationToken::new()).await
    }

    async fn open_until(&self, candidates: &[&str], cancel: &CancellationToken) -> Result<Opened, ProviderError> {
        let candidates: Vec<ModelRef> = candidates.iter().map(|name| ModelRef::new(*name, "m")).collect();
        let make_request = |model: &ModelRef| {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let messages = vec![NewMessage::user("hi")];
            ChatRequest { model: model.model.to_string(), messages, ..ChatRequest::default() }
        };
        self.router.open(&candidates, make_request, cancel).await
    }

    /// Who answered, or the kind of the failure.
    async fn outcome(&self, candidates: &[&str]) -> Result<String, ProviderErrorKind> {
        match self.open(candidates).await {
            Ok(opened) => Ok(opened.model.provider.to_string()),
            Err(error) => Err(error.kind),
        }
    }

    fn cooling_ms(&self) -> Vec<(String, u128)> {
        let list = self.router.cooling();
        list.into_iter().map(|(model, left)| (model.provider.to_string(), left.as_millis())).collect()
    }
}

fn failing(name: &str, kinds: &[ProviderErrorKind]) -> ScriptedProvider {
    ScriptedProvider::new(name).answers(kinds.iter().map(|kind| Scripted::refuse(*kind, "no")))
}

fn asking_to_wait(seconds: u64) -> Scripted {
    let error = ProviderError::new("x", RateLimited, "slow down");
    Scripted::Refuse(ProviderError { retry_after: Some(Duration::from_secs(seconds)), ..error })
}

#[tokio::test(start_paused = true)]
async fn the_first_chunk_is_not_lost() {
    let a = ScriptedProvider::new("a").answer("one two");
    let bench = Bench::new(&[&a]);
    let chunks: Vec<_> = bench.open(&["a"]).await.unwrap().stream.map(|item| item.unwrap()).collect().await;
    assert_eq!(chunks[..2], [Chunk::Text("one ".into()), Chunk::Text("two".into())]);
    assert_eq!(chunks.last(), Some(&Chunk::Finish(FinishReason::Stop)));
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_with_growing_waits() {
    let a = ScriptedProvider::new("a").answers([
        Scripted::refuse(Overloaded, "busy"),
        Scripted::breaks_after("", Cut),
        Scripted::text("at last"),
    ]);
    let bench = Bench::new(&[&a]);
    let began = Instant::now();
    assert_eq!(bench.outcome(&["a"]).await, Ok("a".into()));
    let waited = began.elapsed().as_millis();
    // Half to all of 500 ms, then half to all of 1000 ms.
    assert!((750..=1500).contains(&waited), "{waited} ms");
    assert_eq!(bench.asked.load(Ordering::SeqCst), 3);
    assert_eq!(bench.cooling_ms(), []);
}

#[tokio::test(start_paused = true)]
async fn after_three_attempts_the_next_candidate_is_asked() {
    let a = failing("a", &[Overloaded, Timeout, Malformed]);
    let b = ScriptedProvider::new("b");
    let bench = Bench::new(&[&a, &b]);
    assert_eq!(bench.outcome(&["a", "b"]).await, Ok("b".into()));
    assert_eq!((a.requests().len(), b.requests().len()), (3, 1));
    assert_eq!(bench.cooling_ms(), [("a".into(), 30_000)]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_or_model_is_not_tried_again_but_passed_on() {
    for kind in [Auth, ModelNotFound, Unsupported] {
        let (a, b) = (failing("a", &[kind]), ScriptedProvider::new("b"));
        let bench = Bench::new(&[&a, &b]);
        assert_eq!(bench.outcome(&["a", "b"]).await, Ok("b".into()), "{kind:?}");
        assert_eq!(a.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_faulty_request_comes_back_at_once() {
    for kind in [BadRequest, ContextTooLong] {
        let (a, b) = (failing("a", &[kind]), ScriptedProvider::new("b"));
        let bench = Bench::new(&[&a, &b]);
        assert_eq!(bench.outcome(&["a", "b"]).await, Err(kind));
        assert_eq!((a.requests().len(), b.requests().len()), (1, 0));
        assert_eq!(bench.cooling_ms(), [], "the model is not at fault");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_vendor_asks_for_is_kept() {
    let a = ScriptedProvider::new("a").answers([asking_to_wait(60), Scripted::text("ok")]);
    let bench = Bench::new(&[&a]);
    let began = Instant::now();
    assert_eq!(bench.outcome(&["a"]).await, Ok("a".into()));
    assert_eq!(began.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_longer_wait_sends_the_call_elsewhere() {
    let a = ScriptedProvider::new("a").answers([asking_to_wait(61)]);
    let b = ScriptedProvider::new("b");
    let bench = Bench::new(&[&a, &b]);
    let began = Instant::now();
    assert_eq!(bench.outcome(&["a", "b"]).await, Ok("b".into()));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(bench.cooling_ms(), [("a".into(), 61_000)]);
}

#[tokio::test(start_paused = true)]
async fn a_model_in_cooldown_is_skipped_until_its_time_is_over() {
    let (a, b) = (failing("a", &[Auth]), ScriptedProvider::new("b"));
    let bench = Bench::new(&[&a, &b]);
    assert_eq!(bench.outcome(&["a", "b"]).await, Ok("b".into()));
    bench.clock.advance_ms(29_999);
    assert_eq!(bench.outcome(&["a", "b"]).await, Ok("b".into()));
    assert_eq!(a.requests().len(), 1);
    bench.clock.advance_ms(1);
    assert_eq!(bench.outcome(&["a", "b"]).await, Ok("a".into()));
    assert_eq!(bench.cooling_ms(), []);
}

#[tokio::test(start_paused = true)]
async fn the_cooldown_grows_while_a_model_keeps_failing_and_is_reset_by_success() {
    let a = failing("a", &[Auth; 7]);
    let bench = Bench::new(&[&a]);
    let mut seen = Vec::new();
    for _ in 0..6 {
        assert_eq!(bench.outcome(&["a"]).await, Err(Auth));
        let left = bench.cooling_ms()[0].1;
        seen.push(left);
        bench.clock.advance_ms(i64::try_from(left).unwrap());
    }
    assert_eq!(seen, [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
    a.push(Scripted::refuse(Auth, "again"));
    bench.outcome(&["a"]).await.unwrap_err();
    bench.clock.advance_ms(300_000);
    bench.outcome(&["a"]).await.unwrap_err();
    bench.clock.advance_ms(300_000);
    assert_eq!(bench.outcome(&["a"]).await, Ok("a".into()));
    a.push(Scripted::refuse(Auth, "anew"));
    bench.outcome(&["a"]).await.unwrap_err();
    assert_eq!(bench.cooling_ms(), [("a".into(), 30_000)]);
}

#[tokio::test(start_paused = true)]
async fn models_in_cooldown_are_the_last_resort_and_asked_once() {
    let a = failing("a", &[Auth, Overloaded]);
    let b = failing("b", &[Auth]);
    let bench = Bench::new(&[&a, &b]);
    assert_eq!(bench.outcome(&["a"]).await, Err(Auth));
    // Healthy `b` first, then `a`, whose error is told because it stands first.
    assert_eq!(bench.outcome(&["a", "b"]).await, Err(Overloaded));
    assert_eq!((a.requests().len(), b.requests().len()), (2, 1));
    assert_eq!(bench.outcome(&["a", "b"]).await, Ok("a".into()));
}

#[tokio::test(start_paused = true)]
async fn a_new_set_of_providers_starts_with_a_clean_record() {
    let a = failing("a", &[Auth]);
    let bench = Bench::new(&[&a]);
    assert_eq!(bench.outcome(&["a"]).await, Err(Auth));
    bench.router.registry().replace([Arc::new(a.clone()) as Arc<dyn Provider>], None);
    assert_eq!(bench.outcome(&["a", "b"]).await, Ok("a".into()));
    assert_eq!(bench.cooling_ms(), []);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_not_configured_is_passed_over() {
    let bench = Bench::new(&[&ScriptedProvider::new("b")]);
    assert_eq!(bench.outcome(&["gone", "b"]).await, Ok("b".into()));
    assert_eq!(bench.outcome(&["gone"]).await, Err(ModelNotFound));
    assert_eq!(bench.outcome(&[]).await, Err(ModelNotFound));
}

#[tokio::test(start_paused = true)]
async fn cancelling_interrupts_a_wait_between_attempts() {
    let a = ScriptedProvider::new("a").answers([asking_to_wait(50)]);
    let bench = Bench::new(&[&a]);
    let cancel = CancellationToken::new();
    let began = Instant::now();
    let (result, ()) = tokio::join!(bench.open_until(&["a"], &cancel), async {
        a.wait_for_requests(1).await;
        cancel.cancel();
    });
    assert_eq!(result.err().map(|error| error.kind), Some(Cut));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(bench.cooling_ms(), []);
}

#[tokio::test(start_paused = true)]
async fn cancelling_drops_an_answer_that_has_not_begun() {
    let gate = Gate::new();
    let a = ScriptedProvider::new("a").answers([Scripted::held(&gate, "late")]);
    let bench = Bench::new(&[&a]);
    let cancel = CancellationToken::new();
    let (result, ()) = tokio::join!(bench.open_until(&["a"], &cancel), async {
        gate.reached().await;
        cancel.cancel();
    });
    assert!(result.is_err());
    a.wait_for_dropped(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_first_chunk_is_the_callers() {
    let a = ScriptedProvider::new("a").answers([Scripted::breaks_after("half", Cut)]);
    let bench = Bench::new(&[&a]);
    let items: Vec<_> = bench.open(&["a"]).await.unwrap().stream.map(|item| item.map_err(|e| e.kind)).collect().await;
    assert_eq!(items, [Ok(Chunk::Text("half".into())), Err(Cut)]);
    assert_eq!(a.requests().len(), 1);
}

#[test]
fn a_policy_that_cannot_work_is_named() {
    let policy = RetryPolicy { attempts_max: 0, cooldown_max_ms: 1, ..RetryPolicy::default() };
    let keys: Vec<String> = policy.validate().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["attempts_max", "cooldown_max_ms"]);
    assert_eq!(RetryPolicy::default().validate(), []);
}
