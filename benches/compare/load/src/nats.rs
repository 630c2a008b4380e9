//! Request and reply through a nats-server, as async-nats does it.
//!
//!     nats-load respond URL
//!     nats-load hits URL TASKS WINDOW REQUESTS BYTES
//!
//! TASKS, each with at most WINDOW requests unanswered, on one connection and one thread: what its users write.

mod samples;

use std::time::{Duration, Instant};

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;

use samples::Samples;

const SUBJECT: &str = "echo";

/// More wait for the loop than are ever in flight here.
const CAPACITY: usize = 65_536;

type Failed = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let connect = |url: &str| {
        let options = async_nats::ConnectOptions::new();
        options
            .client_capacity(CAPACITY)
            .subscription_capacity(CAPACITY)
            .connect(url.to_owned())
    };
    match words[..] {
        ["respond", url] => respond(connect(url).await?).await,
        ["hits", url, tasks, window, requests, bytes] => {
            let body = vec![b'x'; bytes.parse()?].into();
            let flying = tasks.parse::<u64>()? * window.parse::<u64>()?;
            load(connect(url).await?, flying, requests.parse()?, body).await
        }
        _ => Err("usage: nats-load respond URL | nats-load hits URL TASKS WINDOW REQUESTS BYTES".into()),
    }
}

async fn respond(client: Client) -> Result<(), Failed> {
    let mut requests = client.subscribe(SUBJECT).await?;
    client.flush().await?;
    println!("ready");
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, request.payload).await?;
        }
    }
    Ok(())
}

async fn load(client: Client, flying: u64, requests: u64, body: Bytes) -> Result<(), Failed> {
    client.request(SUBJECT, body.clone()).await?;
    let started_at = Instant::now();
    let tasks = (0..flying).map(|number| {
        let share = requests / flying + u64::from(number < requests % flying);
        asked(&client, share, &body)
    });
    let mut samples = Samples::default();
    for times in join_all(tasks).await {
        times?.into_iter().for_each(|took| samples.add(took));
    }
    samples.print(started_at.elapsed());
    Ok(())
}

/// So many requests, one after the other; how long each took.
async fn asked(client: &Client, requests: u64, body: &Bytes) -> Result<Vec<Duration>, Failed> {
    let mut times = Vec::new();
    for _ in 0..requests {
        let asked_at = Instant::now();
        let reply = client.request(SUBJECT, body.clone()).await?;
        if reply.payload.len() != body.len() {
            return Err("an echo differs from what was sent".into());
        }
        times.push(asked_at.elapsed());
    }
    Ok(times)
}
