//! What is logged: `RUST_LOG` at start, `LogSettings` while it runs. Logs go to standard error.

mod journal;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use edgemux_proto::inference::log_settings_request::SettingValue as Asked;
use edgemux_proto::inference::log_settings_request::setting_value::ParameterChoice as AskedChoice;
use edgemux_proto::inference::log_settings_response::SettingValue;
use edgemux_proto::inference::log_settings_response::setting_value::ParameterChoice;
use tonic::Status;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use self::journal::Journal;

/// Changes what is logged.
#[derive(Clone, Debug)]
pub struct Logging(reload::Handle<EnvFilter, Registry>);

impl Logging {
    /// Starts logging for the whole process.
    pub fn start() -> Self {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let (filter, handle) = reload::Layer::new(filter);
        let journal = if is_journal() { Journal::connect(Path::new(journal::SOCKET)).ok() } else { None };
        let colours = std::io::stderr().is_terminal();
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
        let lines = journal.is_none().then_some(lines);
        // Only a second start in one process fails, and then the first goes on.
        let _ = tracing_subscriber::registry().with(filter).with(journal).with(lines).try_init();
        Self(handle)
    }

    /// Changes the settings asked for. The filter has one level, so switching one off switches off those below it.
    pub fn change(&self, asked: &BTreeMap<String, Asked>) -> Result<(), Status> {
        let mut level = None;
        for (key, setting) in asked {
            let on = match (key.as_str(), &setting.parameter_choice) {
                (_, None) => continue,
                ("log_verbose_level", Some(AskedChoice::Uint32Param(verbosity))) => {
                    level = Some(["info", "debug", "trace"][(*verbosity).min(2) as usize]);
                    continue;
                }
                ("log_info" | "log_warning" | "log_error", Some(AskedChoice::BoolParam(on))) => *on,
                _ => {
                    return Err(Status::invalid_argument(format!(
                        "log setting '{key}' cannot be set so: log_verbose_level takes a number, log_info, \
                         log_warning and log_error take true or false"
                    )));
                }
            };
            if on {
                level = level.or(match key.as_str() {
                    "log_info" => Some("info"),
                    _ => None,
                });
            } else {
                level = Some(match key.as_str() {
                    "log_info" => "warn",
                    "log_warning" => "error",
                    _ => "off",
                });
            }
        }
        match level {
            None => Ok(()),
            Some(level) => self
                .0
                .reload(EnvFilter::new(level))
                .map_err(|error| Status::internal(format!("the log filter: {error}"))),
        }
    }

    /// The settings now.
    pub fn settings(&self) -> BTreeMap<String, SettingValue> {
        let filter = self.0.with_current(ToString::to_string).unwrap_or_default();
        let level = filter.parse().unwrap_or(tracing_subscriber::filter::LevelFilter::INFO);
        use tracing_subscriber::filter::LevelFilter;
        let verbosity = match level {
            LevelFilter::TRACE => 2,
            LevelFilter::DEBUG => 1,
            _ => 0,
        };
        let boolean = |value| SettingValue { parameter_choice: Some(ParameterChoice::BoolParam(value)) };
        let number = SettingValue { parameter_choice: Some(ParameterChoice::Uint32Param(verbosity)) };
        [
            ("log_info", boolean(level >= LevelFilter::INFO)),
            ("log_warning", boolean(level >= LevelFilter::WARN)),
            ("log_error", boolean(level >= LevelFilter::ERROR)),
            ("log_verbose_level", number),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// Does standard error go to systemd's journal? It says so by the file's device and inode.
fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stderr| names(&named, stderr.st_dev, stderr.st_ino))
}

fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(named_device, named_inode)| {
        named_device.parse() == Ok(device) && named_inode.parse() == Ok(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        assert!(names("8:42", 8, 42));
        for other in ["", "8", "8:43", "9:42", "8:42:1", "x:42"] {
            assert!(!names(other, 8, 42), "{other}");
        }
    }
}
