//! Whose bus this is.
//!
//! Two clusters on one part of a server would hear each other's cursors. The first cluster writes its
//! id down (JetStream), and every node answers a call for it; whoever comes with another id is refused.

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, Stream};
use async_nats::{Client, RequestErrorKind, jetstream};
use events::LinkError;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::Address;

const ASK_LIMIT: Duration = Duration::from_millis(500);

/// Takes the bus for the cluster, or finds that it is the cluster's already.
pub async fn claim(client: &Client, address: &Address, cluster: &str) -> Result<(), LinkError> {
    if let Some(owner) = ask(client, address).await? {
        check(address, cluster, &owner)?;
    }
    if !client.server_info().jetstream {
        return Ok(());
    }
    match write_down(client, address, cluster).await {
        Ok(owner) => check(address, cluster, &owner),
        Err(error) => {
            // An account without JetStream has no say here, and needs none: nodes that live still answer.
            tracing::warn!(%error, bus = %address, "the bus keeps no word of whose it is");
            Ok(())
        }
    }
}

/// Answers nodes that ask whose bus this is.
pub async fn answer(
    client: &Client,
    address: &Address,
    cluster: &str,
    tasks: &TaskTracker,
    closed: &CancellationToken,
) -> Result<(), LinkError> {
    let subscribed = client.subscribe(address.subject("whose")).await;
    let mut questions = subscribed.map_err(|error| LinkError::Unavailable(error.to_string()))?;
    let (client, cluster, closed) = (client.clone(), cluster.to_owned(), closed.clone());
    tasks.spawn(async move {
        loop {
            let question = tokio::select! {
                () = closed.cancelled() => return,
                question = questions.next() => question,
            };
            let Some(question) = question else { return };
            if let Some(reply) = question.reply
                && let Err(error) = client.publish(reply, cluster.clone().into()).await
            {
                tracing::debug!(%error, "a question on the bus was not answered");
            }
        }
    });
    Ok(())
}

fn check(address: &Address, cluster: &str, owner: &str) -> Result<(), LinkError> {
    if owner == cluster {
        return Ok(());
    }
    Err(LinkError::Refused(format!(
        "the bus {address} belongs to the cluster {owner}, and the database of this node to the cluster {cluster}; \
         name the same database as the other nodes in `store.url`, or another part of the bus in `bus.url`, such as \
         `{address}/blue`; if the other cluster is gone for good, remove the stream `{}` from the bus",
        address.stream()
    )))
}

/// What a node that is there says.
async fn ask(client: &Client, address: &Address) -> Result<Option<String>, LinkError> {
    let asked = tokio::time::timeout(ASK_LIMIT, client.request(address.subject("whose"), "".into())).await;
    match asked {
        Ok(Ok(answer)) => Ok(String::from_utf8(answer.payload.to_vec()).ok()),
        Ok(Err(error)) if error.kind() != RequestErrorKind::NoResponders => {
            Err(LinkError::Unavailable(error.to_string()))
        }
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}

/// The id that is written down; ours when there was none.
async fn write_down(client: &Client, address: &Address, cluster: &str) -> Result<String, async_nats::Error> {
    let jetstream = jetstream::new(client.clone());
    let subject = address.subject("cluster");
    let config = Config {
        name: address.stream().to_owned(),
        subjects: vec![subject.clone()],
        max_messages_per_subject: 1,
        description: Some(String::from("The cluster of gateways that this bus belongs to")),
        ..Config::default()
    };
    let stream = jetstream.get_or_create_stream(config).await?;
    if let Some(owner) = written(&stream, &subject).await? {
        return Ok(owner);
    }
    let word = PublishMessage::build().payload(cluster.to_owned().into()).expected_last_subject_sequence(0);
    match jetstream.send_publish(subject.clone(), word).await?.await {
        Ok(_) => Ok(cluster.to_owned()),
        // Somebody was quicker.
        Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
            Ok(written(&stream, &subject).await?.unwrap_or_else(|| cluster.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

async fn written(stream: &Stream, subject: &str) -> Result<Option<String>, async_nats::Error> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(String::from_utf8_lossy(&message.payload).into_owned())),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
