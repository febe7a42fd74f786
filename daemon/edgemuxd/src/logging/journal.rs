//! Lines for systemd's journal: the message with its fields, as people read it, and each field for itself, as programs look for
//! it (`journalctl EDGEMUX_SESSION=detector/1`).
//!
//! By the journal's native protocol, datagrams of `KEY=value` lines. tracing-journald speaks it too, but leaves the fields out of
//! the message: `journalctl` would then say that something happened, and not to whom.

use std::fmt::{Debug, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest value that is sent, bytes: a datagram holds some hundred kilobytes.
const VALUE_BYTES_MAX: usize = 16 << 10;

/// Sends events to the journal.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// To the journal that listens at `socket`.
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let journal = UnixDatagram::unbound()?;
        journal.connect(socket)?;
        Ok(Self(journal))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let about = event.metadata();
        let priority = match *about.level() {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            Level::DEBUG | Level::TRACE => "7",
        };
        entry.put("PRIORITY", priority);
        entry.put("SYSLOG_IDENTIFIER", "edgemuxd");
        entry.put("TARGET", about.target());
        let message = std::mem::take(&mut entry.message) + &entry.words;
        entry.put("MESSAGE", &message);
        // A journal that is away loses the line: there is nobody left to tell.
        let _ = self.0.send(&entry.datagram);
    }
}

/// An event being put together.
#[derive(Default)]
struct Entry {
    message: String,
    /// The fields, as they follow the message.
    words: String,
    datagram: Vec<u8>,
}

impl Entry {
    fn put(&mut self, key: &str, value: &str) {
        let end = value.floor_char_boundary(VALUE_BYTES_MAX.min(value.len()));
        let value = &value[..end];
        self.datagram.extend_from_slice(key.as_bytes());
        if value.contains('\n') {
            // Of several lines: its length first.
            self.datagram.push(b'\n');
            self.datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.datagram.push(b'=');
        }
        self.datagram.extend_from_slice(value.as_bytes());
        self.datagram.push(b'\n');
    }

    fn field(&mut self, name: &str, value: &str) {
        let _ = write!(self.words, " {name}={value}");
        // What the journal takes for a key: capitals, digits and underscores.
        let key: String = name
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' })
            .collect();
        self.put(&format!("EDGEMUX_{key}"), value);
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.field(name, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn sent(log: impl FnOnce()) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal::connect(&path).unwrap());
        tracing::subscriber::with_default(subscriber, log);
        let mut buffer = vec![0; 1 << 20];
        let len = journal.recv(&mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }

    #[test]
    fn people_read_the_whole_line_and_programs_its_fields() {
        let sent = sent(|| tracing::warn!(session = "a/1", at.risk = true, took = 3, "SLO at risk"));
        let text = String::from_utf8(sent).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for line in [
            "MESSAGE=SLO at risk session=a/1 at.risk=true took=3",
            "EDGEMUX_SESSION=a/1",
            "EDGEMUX_AT_RISK=true",
            "EDGEMUX_TOOK=3",
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=edgemuxd",
        ] {
            assert!(lines.contains(&line), "{line}: {text}");
        }
    }

    #[test]
    fn what_has_several_lines_or_is_long_is_sent_whole_or_cut_and_never_read_as_a_field() {
        let sent = sent(|| tracing::error!(reason = "one\nPRIORITY=0", long = "ä".repeat(100_000), "no"));
        let text = String::from_utf8_lossy(&sent);
        let value = b"EDGEMUX_REASON\n\x0e\0\0\0\0\0\0\0one\nPRIORITY=0\n";
        assert!(sent.windows(value.len()).any(|window| window == value), "{text}");
        assert!(sent.len() < 3 * VALUE_BYTES_MAX, "{}", sent.len());
    }
}
