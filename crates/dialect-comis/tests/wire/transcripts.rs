//! Every route and every method has a transcript, and every transcript holds.

use std::path::PathBuf;

use crate::support::{Gateway, transcript};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

#[tokio::test]
async fn transcripts_hold() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        transcript::play(&file).await;
    }
}

#[tokio::test]
async fn every_route_and_method_has_a_transcript() {
    let gateway = Gateway::start().await;
    let methods = gateway.comis.table().iter().map(|method| method.name.to_owned());
    let mut generator = dialect::contract_http::generator();
    let paths = dialect_comis::paths(&mut generator);
    let routes = paths.as_object().unwrap().iter().flat_map(|(path, operations)| {
        let path = path.trim_start_matches('/').replace('/', "-");
        operations.as_object().unwrap().keys().map(move |method| format!("{method}-{path}")).collect::<Vec<_>>()
    });
    let missing: Vec<String> =
        methods.chain(routes).filter(|name| !folder().join(format!("{name}.txt")).is_file()).collect();
    assert_eq!(missing, Vec::<String>::new());
}
