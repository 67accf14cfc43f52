//! The files in `transcripts/`, one for each method and a few for what is not one.

use testkit::transcript::{play_folder, read_folder};

use crate::rig::{folder, gateway_with, speaker};

#[tokio::test]
async fn every_transcript_holds() {
    play_folder(&folder(), &speaker(), gateway_with).await;
}

#[test]
fn every_method_has_a_transcript() {
    let names: Vec<String> = read_folder(&folder()).into_iter().map(|transcript| transcript.name).collect();
    let table = dialect_argent::table::table();
    let missing: Vec<&str> =
        table.iter().map(|method| method.name).filter(|name| !names.contains(&format!("{name}.txt"))).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
