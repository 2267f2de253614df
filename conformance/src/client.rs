//! One client of a case: it speaks the dialect, remembers all that it heard, and never waits without a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::case::{Env, Stop};
use crate::dialect::mesh::{self, Member, Message};
use crate::target::human;
use crate::transcript::{Log, What};
use crate::websocket::{self, Connection, End, News, Order};

/// A client.
pub(crate) struct Peer {
    pub(crate) name: String,
    /// What the server called it at its last join.
    pub(crate) id: String,
    /// The room it last joined.
    pub(crate) room: String,
    /// Everything it heard that it has looked at.
    pub(crate) heard: Vec<Heard>,
    pub(crate) end: Option<End>,
    /// Where the log shows the end.
    end_line: usize,
    pongs: Vec<Bytes>,
    orders: UnboundedSender<Order>,
    news: UnboundedReceiver<(usize, News)>,
    log: Log,
    client: usize,
    patience: Duration,
}

/// A message and the line of the log that shows it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) line: usize,
    pub(crate) message: Message,
    /// Whether somebody waited for it and got it.
    taken: bool,
}

impl Peer {
    /// Opens a WebSocket.
    pub(crate) async fn connect(env: &Arc<Env>, log: &Log, name: &str) -> Result<Self, String> {
        let client = log.client(name);
        let socket = websocket::open(&*env.dial, &env.target, env.patience).await;
        let socket = socket.inspect_err(|why| {
            log.push(client, What::Note, &format!("cannot connect: {why}"));
        })?;
        log.push(client, What::Note, "is connected");
        let (orders, their_orders) = unbounded_channel();
        let (their_news, news) = unbounded_channel();
        let connection = Connection {
            socket,
            orders: their_orders,
            news: their_news,
            log: log.clone(),
            client,
            raw: Bytes::new(),
            unflushed: false,
        };
        tokio::spawn(connection.run());
        Ok(Self {
            name: name.to_owned(),
            id: String::new(),
            room: String::new(),
            heard: Vec::new(),
            end: None,
            end_line: 0,
            pongs: Vec::new(),
            orders,
            news,
            log: log.clone(),
            client,
            patience: env.patience,
        })
    }

    /// Does something; that the connection has ended shows when one waits for an answer.
    pub(crate) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    pub(crate) fn send(&self, text: impl Into<String>) {
        self.order(Order::Text(text.into()));
    }

    /// Says a word to all in its room.
    pub(crate) fn say(&self, word: &str) {
        self.send(mesh::signal(&self.room, "offer", &mesh::quoted(word), None));
    }

    /// Says a word to one in its room.
    pub(crate) fn tell(&self, to: &Self, word: &str) {
        self.send(mesh::signal(&self.room, "offer", &mesh::quoted(word), Some(&to.id)));
    }

    /// Joins a room, takes the id from the answer and returns the members that it lists.
    pub(crate) async fn join(&mut self, room: &str, name: Option<&str>) -> Result<Vec<Member>, Stop> {
        self.send(mesh::join(room, name));
        let answer = self
            .until("an answer to its join", |message| {
                matches!(message, Message::Joined { .. } | Message::Error | Message::Broken(_))
            })
            .await?;
        match answer.message {
            Message::Joined { id, peers, .. } => {
                self.id = id;
                self.room = room.to_owned();
                Ok(peers)
            }
            Message::Broken(why) => Err(Stop::at(format!("{} is answered {why}", self.name), answer.line)),
            _ => Err(Stop::at(format!("{}'s join is refused", self.name), answer.line)),
        }
    }

    /// Joins another room, whatever errors come before: once that is answered, all that it sent before is dealt with.
    pub(crate) async fn moves_to(&mut self, room: &str) -> Result<(), Stop> {
        self.send(mesh::join(room, None));
        self.until("an answer to its join", |message| matches!(message, Message::Joined { .. })).await?;
        self.room = room.to_owned();
        Ok(())
    }

    /// Leaves its room.
    pub(crate) fn leave(&self) {
        self.send(mesh::leave(&self.room));
    }

    /// Closes as the protocol has it and waits for the end, but not for ever.
    pub(crate) async fn close(mut self) {
        self.order(Order::Close(1000));
        let _ = timeout(self.patience, self.ended()).await;
    }

    /// Lets TCP end without a close frame.
    pub(crate) fn hang_up(self) {
        self.log.push(self.client, What::Note, "hangs up: TCP ends without a close frame");
    }

    /// Waits for a message that is wanted and was not waited for before, however many others come. Each arrival renews the
    /// patience: a slow server is no failure.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Message) -> bool) -> Result<Heard, Stop> {
        loop {
            if let Some(heard) = self.heard.iter_mut().find(|heard| !heard.taken && wanted(&heard.message)) {
                heard.taken = true;
                return Ok(heard.clone());
            }
            self.more(what).await?;
        }
    }

    /// Waits for one more arrival of any kind.
    async fn more(&mut self, what: &str) -> Result<(), Stop> {
        if let Some(end) = &self.end {
            let how = match end {
                End::Closed(Some(code)) => format!("its connection was closed with {code}"),
                End::Closed(None) => "its connection was closed".to_owned(),
                End::Lost => "its connection was lost".to_owned(),
                End::Broken(why) => format!("the server broke the framing rules ({why})"),
                End::Flood => "the server flooded it".to_owned(),
            };
            return Err(Stop::at(format!("{} did not hear {what}: {how}", self.name), self.end_line));
        }
        match timeout(self.patience, self.news.recv()).await {
            Ok(news) => {
                self.take_in(news);
                Ok(())
            }
            Err(_) => Err(Stop::fail(format!("{} did not hear {what} within {}", self.name, human(self.patience)))),
        }
    }

    fn take_in(&mut self, news: Option<(usize, News)>) {
        match news {
            Some((line, News::Text(text))) => {
                self.heard.push(Heard { line, message: Message::read(&text), taken: false });
            }
            Some((_, News::Pong(payload))) => self.pongs.push(payload),
            Some((_, News::Binary)) => {}
            Some((line, News::End(end))) => (self.end, self.end_line) = (Some(end), line),
            None => self.end = Some(End::Lost),
        }
    }

    /// Waits for the end of the connection, without a deadline.
    pub(crate) async fn ended(&mut self) -> End {
        loop {
            if let Some(end) = &self.end {
                return end.clone();
            }
            let news = self.news.recv().await;
            self.take_in(news);
        }
    }

    /// Waits for the end of the connection as long as for a message.
    pub(crate) async fn ended_in_time(&mut self) -> Option<End> {
        timeout(self.patience, self.ended()).await.ok()
    }

    /// A failure that the end of the connection shows, if it has ended.
    pub(crate) fn stop(&self, why: String) -> Stop {
        Stop::Fail { why, line: self.end.is_some().then_some(self.end_line) }
    }

    /// Waits for a pong with this payload.
    pub(crate) async fn until_pong(&mut self, payload: &[u8]) -> Result<(), Stop> {
        while !self.pongs.iter().any(|pong| pong == payload) {
            let what = format!("a pong with the payload {:?}", String::from_utf8_lossy(payload));
            self.more(&what).await?;
        }
        Ok(())
    }

    /// Looks at all that has arrived, without waiting.
    pub(crate) fn catch_up(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.take_in(Some(news));
        }
    }

    /// How many messages of a kind it has heard.
    pub(crate) fn count(&self, wanted: impl Fn(&Message) -> bool) -> usize {
        self.heard.iter().filter(|heard| wanted(&heard.message)).count()
    }

    /// It has heard nothing of the kind; ask after a sentinel.
    pub(crate) fn never_heard(&self, why: &str, unwanted: impl Fn(&Message) -> bool) -> Result<(), Stop> {
        self.never_heard_since(0, why, unwanted)
    }

    /// The same of what it heard after its first `mark` messages.
    pub(crate) fn never_heard_since(
        &self,
        mark: usize,
        why: &str,
        unwanted: impl Fn(&Message) -> bool,
    ) -> Result<(), Stop> {
        match self.heard[mark..].iter().find(|heard| unwanted(&heard.message)) {
            Some(heard) => Err(Stop::at(format!("{} {why}", self.name), heard.line)),
            None => Ok(()),
        }
    }

    /// It has heard exactly one message of the kind; ask after a sentinel. `what` names it.
    pub(crate) fn heard_once(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Result<(), Stop> {
        let matching: Vec<_> = self.heard.iter().filter(|heard| wanted(&heard.message)).collect();
        match matching[..] {
            [_] => Ok(()),
            [] => Err(Stop::fail(format!("{} did not hear {what}", self.name))),
            [_, second, ..] => {
                let times = matching.len();
                Err(Stop::at(format!("{} heard {what} {times} times", self.name), second.line))
            }
        }
    }
}
