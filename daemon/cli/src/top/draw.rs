//! Draws the live view. Where there is not room for all, the least of it goes first: figures of the chosen session, then
//! columns of the largest rank.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table};

use super::app::App;
use super::columns::{self, Cells, Column, DEVICES, SESSIONS, Tone};
use super::details::{LINES_MAX, details};
use crate::format;
use crate::table::{Align, printable};

const SPACING: u16 = 2;
/// Lines of a table that are no rows: its title and its header.
const TABLE_LINES: u16 = 2;
/// Fewer sessions than this are not worth the chosen one's figures.
const SESSIONS_MIN: u16 = 3;

const HELP: &[&str] = &[
    "q, Esc, Ctrl-C   leave",
    "up/down, k/j     choose a session",
    "Home/End, g/G    the first, the last",
    "s, S             sort by the next column, by the one before",
    "p, Space         hold still, go on",
    "r                look now",
    "+, -             look more often, less often",
    "",
    "A latency is as observed lately / as predicted, of requests",
    "within the terms, in ms. Red: an objective missed or at risk,",
    "a failed session, a fenced device. Yellow: more sent than",
    "declared, observed well above predicted.",
    "",
    "Any key goes back.",
];

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, now: Instant) {
    let area = frame.area();
    let devices = (app.snapshot.devices.len() as u16).saturating_add(TABLE_LINES).min(area.height / 3);
    let needed = devices + 2 + TABLE_LINES + SESSIONS_MIN + LINES_MAX + 1;
    let details = if area.height >= needed { LINES_MAX + 1 } else { 0 };
    let [top, above, middle, below, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(devices),
        Constraint::Min(0),
        Constraint::Length(details),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(head(app, now), top);
    let fresh = app.failure.is_none();
    frame.render_widget(table("devices", &DEVICES, app.snapshot.device_cells(), above, fresh), above);
    draw_sessions(frame, app, middle, fresh);
    if details > 0 {
        draw_details(frame, app, below);
    }
    let keys =
        format!("q leave   ↑↓ choose   s sort: {}   p hold still   +/- interval   ? keys", app.sort.name());
    frame.render_widget(Line::from(keys).style(dim()), bottom);
    if app.help {
        draw_help(frame, area);
    }
}

/// Where it looks and what is there; to the right how fresh that is.
fn head(app: &App, now: Instant) -> Line<'static> {
    let name = Span::styled("edgemux top  ", Style::new().add_modifier(Modifier::BOLD));
    let server = Span::raw(format!("{}  {}", printable(&app.snapshot.server), app.snapshot.summary()));
    let age = format::age(now.saturating_duration_since(app.taken).as_secs_f64());
    let state = match (&app.failure, app.paused) {
        (Some(failure), _) => {
            let words = format!("  no answer, this is {age} old: {}", printable(failure));
            Span::styled(words, tone(Tone::Bad))
        }
        (None, true) => Span::styled(format!("  held still, {age} old"), tone(Tone::Warning)),
        (None, false) => {
            Span::styled(format!("  every {} s", format::short(app.interval.as_secs_f64())), dim())
        }
    };
    Line::from(vec![name, server, state])
}

fn draw_sessions(frame: &mut Frame<'_>, app: &mut App, area: Rect, fresh: bool) {
    let rows: Vec<Cells> = app.sessions().into_iter().map(columns::session).collect();
    if rows.is_empty() {
        let words = "no sessions: `edgemux admit NAME` or `edgemux load NAME` loads a model";
        frame.render_widget(Paragraph::new(words).block(title("sessions")), area);
        return;
    }
    let chosen = app.chosen_at();
    let table = table("sessions: latencies observed/predicted, ms", &SESSIONS, rows, area, fresh)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    app.scroll.select(Some(chosen));
    frame.render_stateful_widget(table, area, &mut app.scroll);
}

fn draw_details(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let sessions = app.sessions();
    let lines = sessions.get(app.chosen_at()).map_or_else(Vec::new, |session| {
        let device = app.snapshot.devices.iter().find(|device| device.name == session.device);
        details(session, device)
    });
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(title("chosen")), area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let width = HELP.iter().map(|line| line.len() as u16).max().unwrap_or(0) + 4;
    let height = HELP.len() as u16 + 2;
    let [_, rows, _] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    let [_, middle, _] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width), Constraint::Fill(1)]).areas(rows);
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(format!(" {line}"))).collect();
    frame.render_widget(Clear, middle);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), middle);
}

fn table(
    name: &'static str,
    columns: &[Column],
    rows: Vec<Cells>,
    area: Rect,
    fresh: bool,
) -> Table<'static> {
    let widths: Vec<u16> = (0..columns.len()).map(|at| width(columns, &rows, at)).collect();
    let kept = fitting(columns, &widths, area.width);
    let cell = |text: String, at: usize, style: Style| {
        let alignment = match columns[at].align {
            Align::Left => Alignment::Left,
            Align::Right => Alignment::Right,
        };
        Cell::from(Line::from(text).alignment(alignment)).style(style)
    };
    let header = kept.iter().map(|&at| cell(columns[at].title.to_owned(), at, dim()));
    let body = rows.iter().map(|row| {
        Row::new(kept.iter().map(|&at| {
            let style = if fresh { tone(row[at].tone) } else { dim() };
            cell(row[at].text.clone(), at, style)
        }))
    });
    Table::new(body, kept.iter().map(|&at| Constraint::Length(widths[at])))
        .header(Row::new(header))
        .column_spacing(SPACING)
        .block(title(name))
}

fn width(columns: &[Column], rows: &[Cells], at: usize) -> u16 {
    let cells = rows.iter().map(|row| Line::from(row[at].text.as_str()).width());
    let widest = cells.chain([Line::from(columns[at].title).width()]).max().unwrap_or(0);
    u16::try_from(widest).unwrap_or(u16::MAX)
}

/// The columns for which there is room, in their order.
fn fitting(columns: &[Column], widths: &[u16], room: u16) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let needed = |kept: &[usize]| -> u32 { kept.iter().map(|&at| u32::from(widths[at] + SPACING)).sum() };
    while needed(&kept) > u32::from(room) + u32::from(SPACING) {
        let Some(least) = (0..kept.len()).max_by_key(|&of| columns[kept[of]].rank) else { break };
        if columns[kept[least]].rank == 0 {
            break;
        }
        kept.remove(least);
    }
    kept
}

fn title(name: &'static str) -> Block<'static> {
    Block::new().borders(Borders::TOP).border_style(dim()).title(format!(" {name} "))
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn tone(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Warning => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::super::examples;
    use super::*;

    fn app() -> App {
        App::new(examples::node(), Duration::from_secs(1), Instant::now())
    }

    fn drawn(app: &mut App, columns: u16, rows: u16) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let now = app.taken + Duration::from_secs(7);
        terminal.draw(|frame| draw(frame, app, now)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..buffer.area.height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    /// How the first cell of this text is shown.
    fn style_of(buffer: &Buffer, text: &str) -> (Color, Modifier) {
        let lines = lines(buffer);
        let (y, line) = lines.iter().enumerate().find(|(_, line)| line.contains(text)).unwrap();
        let x = line.split(text).next().unwrap().chars().count();
        let cell = &buffer[(x as u16, y as u16)];
        (cell.fg, cell.modifier)
    }

    #[test]
    fn a_wide_terminal_shows_all_of_it() {
        let buffer = drawn(&mut app(), 150, 24);
        assert_eq!(lines(&buffer).join("\n"), include_str!("draw/wide.txt").trim_end());
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters_most() {
        let buffer = drawn(&mut app(), 80, 15);
        assert_eq!(lines(&buffer).join("\n"), include_str!("draw/narrow.txt").trim_end());
    }

    #[test]
    fn it_fits_terminals_of_any_size() {
        let mut app = app();
        for (columns, rows) in [(1, 1), (3, 2), (10, 5), (20, 8), (500, 3), (30, 200)] {
            for help in [false, true] {
                app.help = help;
                drawn(&mut app, columns, rows);
            }
        }
        app.snapshot.sessions.clear();
        app.snapshot.devices.clear();
        app.help = false;
        assert!(lines(&drawn(&mut app, 80, 20)).iter().any(|line| line.starts_with("no sessions")));
    }

    #[test]
    fn what_breaks_a_promise_is_red_until_it_is_too_old_to_say() {
        let mut app = app();
        let buffer = drawn(&mut app, 150, 24);
        assert_eq!(style_of(&buffer, "97.0 %").0, Color::Red);
        assert_eq!(style_of(&buffer, "99.0 of 10.0").0, Color::Yellow);
        assert_eq!(style_of(&buffer, "fenced: being").0, Color::Red);
        assert!(style_of(&buffer, "detector/1").1.contains(Modifier::REVERSED));
        app.looked(Err("the worker\nis gone".into()), Instant::now());
        let buffer = drawn(&mut app, 150, 24);
        assert_ne!(style_of(&buffer, "97.0 %").0, Color::Red);
        assert!(lines(&buffer)[0].ends_with("no answer, this is 7.0 s old: the worker is gone"));
    }

    #[test]
    fn the_chosen_session_is_in_sight_however_many_there_are() {
        let mut app = app();
        let one = app.snapshot.sessions[0].clone();
        let named = |number| crate::view::Session { id: format!("model{number:03}/1"), ..one.clone() };
        app.snapshot.sessions = (0..200).map(named).collect();
        app.key(KeyEvent::new(KeyCode::End, KeyModifiers::NONE));
        assert!(lines(&drawn(&mut app, 100, 30)).iter().any(|line| line.starts_with("model199/1 ")));
        app.key(KeyEvent::new(KeyCode::Home, KeyModifiers::NONE));
        assert!(lines(&drawn(&mut app, 100, 30)).iter().any(|line| line.starts_with("model000/1 ")));
    }
}
