//! Lines of comma-separated values (RFC 4180, with the line ends of Unix).

/// One line.
pub(crate) fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    cells.join(",") + "\n"
}

/// A number with all that is known of it to a ten-thousandth; empty for none.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    })
}

fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_is_quoted() {
        assert_eq!(line(["a", "b,c", "say \"d\"", ""]), "a,\"b,c\",\"say \"\"d\"\"\",\n");
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(number(Some(12.5)), "12.5");
        assert_eq!(number(Some(100.0)), "100");
        assert_eq!(number(Some(1.0 / 3.0)), "0.3333");
        assert_eq!(number(None), "");
    }
}
