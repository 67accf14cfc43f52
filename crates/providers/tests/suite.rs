//! Every adapter passes the one suite, on real sockets.

use providers::testkit::{fixtures, suite};

#[tokio::test]
async fn openai_passes_the_suite() {
    suite::run(&fixtures::openai()).await;
}

#[tokio::test]
async fn openai_responses_passes_the_suite() {
    suite::run(&fixtures::openai_responses()).await;
}

#[tokio::test]
async fn anthropic_passes_the_suite() {
    suite::run(&fixtures::anthropic()).await;
}

#[tokio::test]
async fn gemini_passes_the_suite() {
    suite::run(&fixtures::gemini()).await;
}

#[tokio::test]
async fn ollama_passes_the_suite() {
    suite::run(&fixtures::ollama()).await;
}
