//! The live view's loop: keys, looks, signals, drawing.

use std::io;
use std::time::{Duration, Instant};

use crossterm::event::{Event, EventStream};
use edgemux_client::ServerAddress;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;

use super::Snapshot;
use super::app::{App, Wish};
use super::draw::draw;
use super::screen::Screen;
use crate::client::Client;
use crate::error::Error;
use crate::generator::EndSignals;

/// Ages on the screen go on between looks.
const REDRAW: Duration = Duration::from_secs(1);

type Look = JoinHandle<Result<Snapshot, String>>;

/// Shows the node until a key or a signal ends it.
pub(crate) async fn live(
    client: Client,
    server: &ServerAddress,
    first: Snapshot,
    interval: Duration,
) -> Result<(), Error> {
    // Before the terminal is taken: a signal must not end this process with it in hand.
    let mut signals = EndSignals::catch()?;
    let mut screen = Screen::enter().map_err(Error::Terminal)?;
    let mut app = App::new(first, interval, Instant::now());
    let mut events = EventStream::new();
    let look = || {
        let (client, server) = (client.clone(), server.clone());
        tokio::spawn(async move {
            let snapshot = Snapshot::take(&client, &server).await;
            snapshot.map_err(|error| error.message().to_owned())
        })
    };
    let mut looking: Option<Look> = None;
    let mut next = Instant::now() + interval;
    loop {
        screen.terminal.draw(|frame| draw(frame, &mut app, Instant::now())).map_err(Error::Terminal)?;
        let wake = if app.paused || looking.is_some() { REDRAW } else { until(next).min(REDRAW) };
        let wish = tokio::select! {
            biased;
            () = signals.come() => return Ok(()),
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => app.key(key),
                // A new size needs but to be drawn.
                Some(Ok(_)) => Wish::Nothing,
                Some(Err(error)) => return Err(Error::Terminal(error)),
                None => return Err(Error::Terminal(io::ErrorKind::UnexpectedEof.into())),
            },
            seen = ended(&mut looking) => {
                looking = None;
                app.looked(seen, Instant::now());
                next = Instant::now() + app.interval;
                Wish::Nothing
            }
            () = tokio::time::sleep(wake) => Wish::Nothing,
        };
        let due = !app.paused && until(next).is_zero();
        match wish {
            Wish::Leave => return Ok(()),
            Wish::Look | Wish::Nothing if looking.is_some() => {}
            Wish::Look => looking = Some(look()),
            Wish::Nothing if due => looking = Some(look()),
            Wish::Nothing => {}
        }
        // One that was made shorter need not wait for the end of the longer.
        next = next.min(Instant::now() + app.interval);
    }
}

fn until(moment: Instant) -> Duration {
    moment.saturating_duration_since(Instant::now())
}

/// What the look under way comes to; without one it waits for ever.
async fn ended(looking: &mut Option<Look>) -> Result<Snapshot, String> {
    match looking {
        Some(look) => look.await.unwrap_or_else(|error| Err(error.to_string())),
        None => std::future::pending().await,
    }
}
