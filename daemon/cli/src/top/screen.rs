//! The terminal while the live view has it; it is given back however that ends: well, by a signal, by a panic.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

/// Whether the terminal is ours now. Leaving it twice would put the cursor back over what was printed since.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Gives the terminal back when it is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

// === impl Screen ===

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        // A panic's message belongs on the screen that stays.
        HOOK.call_once(|| {
            let next = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                leave();
                next(panic);
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        let entered = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen))
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match entered {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                leave();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing back.
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pty::Pty;

    #[test]
    #[ignore = "panics: the test below runs it in a terminal of its own"]
    fn panics_inside() {
        let _screen = Screen::enter().unwrap();
        panic!("in the middle");
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let mut pty = Pty::open(24, 80);
        let before = pty.settings();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "top::screen::tests::panics_inside", "--ignored", "--nocapture"]);
        let mut child = pty.spawn(&mut child);
        let shown = pty.read_until("in the middle");
        assert!(!child.wait().unwrap().success());
        let left = shown.find("\u{1b}[?1049l").expect("the alternate screen is left");
        assert!(shown.find("\u{1b}[?1049h").is_some_and(|entered| entered < left), "{shown:?}");
        assert!(shown.find("in the middle").is_some_and(|told| told > left), "{shown:?}");
        assert!(shown.contains("\u{1b}[?25h"), "the cursor is there: {shown:?}");
        assert_eq!(pty.settings(), before);
    }
}
