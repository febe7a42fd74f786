//! Plots as SVG or PNG, the same drawing for both.
//!
//! The page is white, so that a plot is read on paper and on a page of any colour; colours are those of Okabe and Ito,
//! which people of all kinds of colour vision can tell apart, and lines differ in their markers too. The font of the PNG
//! is built in; an SVG asks for the reader's own sans-serif.

mod mark;
mod panel;
mod png;
mod series;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::{BitMapBackend, DrawingArea, DrawingBackend, IntoDrawingArea, SVGBackend, WHITE};
use plotters::style::{FontStyle, RGBColor, register_font};
use thiserror::Error;

pub(crate) use mark::Mark;
pub(crate) use panel::{LEGEND_ROW, legend, panel, title};
pub(crate) use series::{Label, Line, Look, Panel, Series, Ticks, range};

/// How much finer a PNG is than its size in points.
const PNG_SCALE: u32 = 2;

/// Black first, for what is measured; then colours from the most to the least distinct.
pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// For lines.
pub(crate) const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x7a, 0x5c, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
];

/// Something that can be drawn.
pub(crate) trait Figure {
    /// Width and height in points.
    fn size(&self) -> (u32, u32);

    /// Draws onto an area `scale` times as large as the size.
    fn draw<B: DrawingBackend>(&self, area: &Area<B>, scale: u32) -> Result<(), Failed>;
}

/// Where a figure is drawn.
pub(crate) type Area<B> = DrawingArea<B, Shift>;

/// What the drawing library says.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Failed(String);

/// No plot.
#[derive(Debug, Error)]
pub(crate) enum PlotError {
    #[error("cannot write {path}: {cause}")]
    Write { path: PathBuf, cause: io::Error },
    #[error("cannot draw {path}: {cause}")]
    Draw { path: PathBuf, cause: Failed },
    #[error("{path} ends neither in .svg nor in .png")]
    Kind { path: PathBuf },
}

/// A kind of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Picture {
    Svg,
    Png,
}

/// Draws a figure into a file; its name says which kind of picture.
pub(crate) fn write(path: &Path, figure: &impl Figure) -> Result<(), PlotError> {
    let kind = Picture::of(path).ok_or_else(|| PlotError::Kind { path: path.to_owned() })?;
    let drawn = fonts().and_then(|()| match kind {
        Picture::Svg => svg(figure).map(String::into_bytes),
        Picture::Png => bitmap(figure),
    });
    let bytes = drawn.map_err(|cause| PlotError::Draw { path: path.to_owned(), cause })?;
    fs::write(path, bytes).map_err(|cause| PlotError::Write { path: path.to_owned(), cause })
}

fn svg(figure: &impl Figure) -> Result<String, Failed> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, figure.size()).into_drawing_area();
        finish(figure, &area, 1)?;
    }
    Ok(text)
}

fn bitmap(figure: &impl Figure) -> Result<Vec<u8>, Failed> {
    let (width, height) = figure.size();
    let (width, height) = (width * PNG_SCALE, height * PNG_SCALE);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        finish(figure, &area, PNG_SCALE)?;
    }
    png::encode(&pixels, width, height)
}

fn finish<B: DrawingBackend>(figure: &impl Figure, area: &Area<B>, scale: u32) -> Result<(), Failed> {
    area.fill(&WHITE)?;
    figure.draw(area, scale)?;
    Ok(area.present()?)
}

/// Makes the font known, once.
fn fonts() -> Result<(), Failed> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let known =
        KNOWN.get_or_init(|| register_font("sans-serif", FontStyle::Normal, ttf_noto_sans::REGULAR).is_ok());
    if *known { Ok(()) } else { Err(Failed("the font that is built in cannot be read".to_owned())) }
}

// === impl Picture ===

impl Picture {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?;
        if extension.eq_ignore_ascii_case("svg") {
            Some(Self::Svg)
        } else if extension.eq_ignore_ascii_case("png") {
            Some(Self::Png)
        } else {
            None
        }
    }
}

// === impl Failed ===

impl Failed {
    fn new(error: &dyn std::error::Error) -> Self {
        Self(error.to_string())
    }
}

impl<E: std::error::Error + Send + Sync> From<plotters::drawing::DrawingAreaErrorKind<E>> for Failed {
    fn from(error: plotters::drawing::DrawingAreaErrorKind<E>) -> Self {
        Self::new(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_kind_of_picture_it_is() {
        for (name, kind) in
            [("a.svg", Some(Picture::Svg)), ("b/c.PNG", Some(Picture::Png)), ("svg", None), ("a.pdf", None)]
        {
            assert_eq!(Picture::of(Path::new(name)), kind, "{name}");
        }
    }
}
