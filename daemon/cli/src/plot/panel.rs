//! One panel: axes with a grid, lines and markers.

use plotters::chart::ChartBuilder;
use plotters::coord::combinators::{BindKeyPoints, IntoLogRange};
use plotters::element::{PathElement, Text};
use plotters::prelude::{BLACK, Color, DrawingBackend, IntoFont};
use plotters::series::DashedLineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{RGBColor, TextStyle};

use super::series::{Label, Line, Panel};
use super::{Area, Failed, INK};

/// Heights of letters, in points.
const FONT: f64 = 13.0;
const TITLE: f64 = 15.0;
/// From one line of the legend to the next, in points.
pub(crate) const LEGEND_ROW: u32 = 20;

/// Text at a place given in points.
pub(crate) fn title<B: DrawingBackend>(
    area: &Area<B>,
    text: &str,
    (x, y): (i32, i32),
    scale: u32,
) -> Result<(), Failed> {
    let at = (x * scale as i32, y * scale as i32);
    Ok(area.draw(&Text::new(text.to_owned(), at, font(TITLE, scale)))?)
}

/// Draws a panel over all of an area.
pub(crate) fn panel<B: DrawingBackend>(area: &Area<B>, panel: &Panel<'_>, scale: u32) -> Result<(), Failed> {
    let (x_range, y_range) = (panel.x_range, panel.y_range);
    let mut chart = ChartBuilder::on(area)
        .margin(10 * scale)
        .caption(panel.title, font(TITLE, scale))
        .x_label_area_size(40 * scale)
        .y_label_area_size(58 * scale)
        .build_cartesian_2d(
            x_range.0..x_range.1,
            (y_range.0..y_range.1).log_scale().with_key_points(steps(y_range)),
        )?;
    chart
        .configure_mesh()
        .x_desc(panel.x)
        .y_desc(panel.y)
        .axis_desc_style(font(FONT, scale))
        .label_style(font(FONT - 1.0, scale))
        .x_labels(panel.ticks.count)
        .x_label_formatter(&|x| (panel.ticks.label)(*x))
        .y_label_formatter(&|y| plain(*y))
        .bold_line_style(RGBColor(0xd0, 0xd0, 0xd0))
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .x_max_light_lines(1)
        .y_max_light_lines(1)
        .axis_style(INK.stroke_width(scale))
        .draw()?;
    let inside =
        |x: f64, y: f64| (x_range.0..=x_range.1).contains(&x) && (y_range.0..=y_range.1).contains(&y);
    for series in panel.series {
        let look = series.look;
        let points: Vec<(f64, f64)> = series.points.iter().copied().filter(|&(x, y)| inside(x, y)).collect();
        let stroke = look.colour.stroke_width(2 * scale);
        match look.line.dashes() {
            Some((on, off)) => {
                let (on, off) = (on * scale as i32, off * scale as i32);
                chart.draw_series(DashedLineSeries::new(points.iter().copied(), on, off, stroke))?;
            }
            None if look.line == Line::Solid => {
                chart.draw_series([PathElement::new(points.clone(), stroke)])?;
            }
            None => {}
        }
        if let Some(mark) = look.mark {
            mark.on_chart(&mut chart, &points, look.colour, scale)?;
        }
    }
    Ok(())
}

/// Draws a legend from the top of an area downwards.
pub(crate) fn legend<B: DrawingBackend>(area: &Area<B>, labels: &[Label], scale: u32) -> Result<(), Failed> {
    let s = scale as i32;
    for (row, Label { text, look }) in (0..).zip(labels) {
        let y = (14 + LEGEND_ROW as i32 * row) * s;
        let (from, to) = (4 * s, 34 * s);
        let stroke = look.colour.stroke_width(2 * scale);
        if let Some((on, off)) = look.line.dashes() {
            let starts = (0..).map(|dash| from + dash * (on + off) * s).take_while(|&at| at < to);
            for at in starts {
                area.draw(&PathElement::new([(at, y), ((at + on * s).min(to), y)], stroke))?;
            }
        } else if look.line == Line::Solid {
            area.draw(&PathElement::new([(from, y), (to, y)], stroke))?;
        }
        if let Some(mark) = look.mark {
            mark.on_area(area, ((from + to) / 2, y), look.colour, scale)?;
        }
        let style = font(FONT, scale).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(text.clone(), (to + 8 * s, y), style))?;
    }
    Ok(())
}

fn font(size: f64, scale: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size * f64::from(scale)).into_font()).color(&BLACK)
}

/// 1, 2 and 5 times the powers of ten in a range.
fn steps((from, to): (f64, f64)) -> Vec<f64> {
    let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let steps = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(decade)));
    steps.filter(|step| (from..=to).contains(step)).collect()
}

/// A number of ms without more digits than it needs.
fn plain(value: f64) -> String {
    let decimals = match value {
        10.0.. => 0,
        1.0.. => 1,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
