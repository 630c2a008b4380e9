//! `zhit ping --vote`: how this host's members would vote on its broker now. A dry run: nobody is asked to kill.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::exit::Exit;
use crate::net::{Context, Dealer, Interest, NetError, Poll, Received, Sent, Waker};
use crate::options::Format;
use crate::protocol::ids::{SlotId, WorkerId};
use crate::protocol::message::Vote;
use crate::protocol::{Message, Moment};
use crate::runtime::{self, RuntimeDir};
use crate::signals::Stop;
use crate::term::{Cell, Column, Paint, Screen, Table, json};

use super::probe::{PingError, print};

/// How soon a member that has not answered is asked again: one that has not found its broker yet has no opinion.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// One member that votes.
struct Member {
    dealer: Dealer,
    /// When it was asked last.
    asked_at: Option<Moment>,
    answer: Option<Vote>,
}

/// What the votes come to.
#[derive(Serialize)]
struct Count {
    kind: &'static str,
    host: String,
    hung: usize,
    of: usize,
    needed: usize,
    silent: Vec<String>,
}

/// Asks every present voting member, for `wait` at most, and prints what they say.
///
/// # Errors
/// [`PingError`].
pub(super) fn run(
    (context, dir, stop): (&Context, &RuntimeDir, &Stop),
    host: &str,
    (format, wait): (Format, Duration),
    out: &mut impl Write,
) -> Result<Exit, PingError> {
    let waker = Waker::new()?;
    stop.register(&waker);
    let mut members = BTreeMap::new();
    for seen in runtime::list(dir)?
        .into_iter()
        .filter(|member| member.present && member.votes)
    {
        let mut dealer = Dealer::new(context)?;
        dealer.connect(&dir.slot_socket(SlotId {
            worker: seen.id,
            number: 0,
        }))?;
        let member = Member {
            dealer,
            asked_at: None,
            answer: None,
        };
        members.insert(seen.id, member);
    }
    let until = clock::now() + wait;
    loop {
        if stop.stage() > 0 {
            return Ok(Exit::of_signal(stop.signal()));
        }
        for member in members.values_mut() {
            ask(member)?;
        }
        let heard = members.values().all(|member| member.answer.is_some());
        if heard || clock::now() >= until {
            break;
        }
        self::wait(&members, until, &waker)?;
    }
    let count = count(host, &members);
    let text = match format {
        Format::Json => json::line(&count),
        Format::Text => table(&members).render(Screen::stdout()) + &sentence(&count),
    };
    print(out, &text)?;
    Ok(if count.silent.is_empty() {
        Exit::Success
    } else {
        Exit::Incomplete
    })
}

fn ask(member: &mut Member) -> Result<(), NetError> {
    let now = clock::now();
    let due = member.asked_at.is_none_or(|at| now.since(at) >= ASK_AGAIN_AFTER);
    if member.answer.is_none() && due {
        let sent = member.dealer.send(Message::Ping { nonce: 1 }.encode())? == Sent::Done;
        member.asked_at = sent.then_some(now);
    }
    while let Some(received) = member.dealer.recv()? {
        if let Received::Frames(frames) = received
            && let Ok(Message::Vote(vote)) = Message::decode(&frames.header, frames.body)
        {
            member.answer = Some(vote);
        }
    }
    Ok(())
}

fn wait(members: &BTreeMap<WorkerId, Member>, until: Moment, waker: &Waker) -> Result<(), NetError> {
    let mut poll = Poll::new();
    for member in members.values().filter(|member| member.answer.is_none()) {
        poll.socket(
            &member.dealer,
            Interest::READ | Interest::WRITE.when(member.asked_at.is_none()),
        );
    }
    poll.fd(waker, Interest::READ);
    poll.wait(Some(until.since(clock::now()).min(ASK_AGAIN_AFTER)))
        .map(drop)
}

fn count(host: &str, members: &BTreeMap<WorkerId, Member>) -> Count {
    let is_hung = |member: &&Member| member.answer.is_some_and(|vote| vote.hung);
    let silent = members.iter().filter(|(_, member)| member.answer.is_none());
    Count {
        kind: "votes",
        host: host.to_owned(),
        hung: members.values().filter(is_hung).count(),
        of: members.len(),
        needed: members.len() / 2 + 1,
        silent: silent.map(|(id, _)| id.to_string()).collect(),
    }
}

fn table(members: &BTreeMap<WorkerId, Member>) -> Table {
    let mut table = Table::new(&[
        Column::left("MEMBER"),
        Column::left("BROKER"),
        Column::right("PID"),
        Column::right("TERM"),
        Column::right("BEAT"),
    ]);
    for (id, member) in members {
        let mut cells: Vec<Cell> = vec![id.to_string().into()];
        match &member.answer {
            None => cells.extend([Cell::painted("silent", Paint::Warn), "-".into(), "-".into(), "-".into()]),
            Some(vote) => {
                let opinion = if vote.hung {
                    Cell::painted("hung", Paint::Bad)
                } else {
                    "alive".into()
                };
                let numbers = [u64::from(vote.suspect.pid), vote.suspect.term.0, vote.beat];
                cells.push(opinion);
                cells.extend(numbers.map(|number| Cell::from(number.to_string())));
            }
        }
        table.row(cells);
    }
    table
}

fn sentence(count: &Count) -> String {
    let Count { hung, of, needed, .. } = count;
    if *of == 0 {
        return "no member votes on this host: nobody would end a broker that hangs; start one: zhit worker\n"
            .to_owned();
    }
    let silent = match &count.silent[..] {
        [] => String::new(),
        [one] => format!("; {one} is silent"),
        several => format!("; {} are silent", several.join(", ")),
    };
    format!("{hung} of {of} would vote hung, {needed} needed{silent}\n")
}
