//! The files in `transcripts/`, one for each method and a few for what is not one.

use testkit::transcript::play_folder;

use crate::rig::{folder, gateway_with, speaker};

#[tokio::test]
async fn every_transcript_holds() {
    play_folder(&folder(), &speaker(), gateway_with).await;
}
