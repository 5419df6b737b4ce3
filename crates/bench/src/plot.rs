//! Line charts as SVG.
//!
//! Knows two logarithmic axes, lines and a legend, which is all that curves of cost
//! need. Colours follow the reader's light or dark scheme.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 360.0;
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b2182b"];

/// A chart with logarithmic axes.
pub struct Chart {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub lines: Vec<Line>,
}

/// One line of a chart; points must be above nought on both axes.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// The chart as a whole SVG document.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_axis = Axis::over(points().map(|point| point.0), (LEFT, RIGHT));
        let y_axis = Axis::over(points().map(|point| point.1), (BOTTOM, TOP));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
             <style>text{{fill:#222}}.grid{{stroke:#ccc}}.page{{fill:#fff}}\
             @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.grid{{stroke:#444}}.page{{fill:#111}}}}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n"
        );
        put_text(&mut svg, (LEFT, 28.0), "start", &self.title);
        put_text(&mut svg, ((LEFT + RIGHT) / 2.0, HEIGHT - 12.0), "middle", &self.x_label);
        put_text(&mut svg, (LEFT - 60.0, TOP - 8.0), "start", &self.y_label);
        for (value, x) in x_axis.ticks() {
            put_line(&mut svg, (x, TOP), (x, BOTTOM));
            put_text(&mut svg, (x, BOTTOM + 18.0), "middle", &short(value));
        }
        for (value, y) in y_axis.ticks() {
            put_line(&mut svg, (LEFT, y), (RIGHT, y));
            put_text(&mut svg, (LEFT - 8.0, y + 4.0), "end", &short(value));
        }
        for (at, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[at % COLOURS.len()];
            let places: Vec<(f64, f64)> =
                line.points.iter().map(|(x, y)| (x_axis.place(*x), y_axis.place(*y))).collect();
            put_polyline(&mut svg, &places, colour);
            put_dots(&mut svg, &places, colour);
            let y = TOP + 20.0 * at as f64;
            put_polyline(&mut svg, &[(RIGHT + 14.0, y), (RIGHT + 34.0, y)], colour);
            put_text(&mut svg, (RIGHT + 40.0, y + 4.0), "start", &line.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// A logarithmic axis from `low` to `high` on the page.
struct Axis {
    low: f64,
    high: f64,
    page: (f64, f64),
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, page: (f64, f64)) -> Self {
        let (low, high) = values
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if !low.is_finite() || low <= 0.0 {
            return Self { low: 1.0, high: 10.0, page };
        }
        // A line along the edge of the frame would be hard to see.
        Self { low: low / 1.15, high: high * 1.15, page }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.page.0 + share * (self.page.1 - self.page.0)
    }

    /// 1, 2 and 5 of each power of ten; of a long axis the powers alone.
    fn ticks(&self) -> Vec<(f64, f64)> {
        let steps: &[f64] = if self.high / self.low > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        powers
            .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
            .filter(|value| (self.low..=self.high).contains(value))
            .map(|value| (value, self.place(value)))
            .collect()
    }
}

fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        // Powers of ten below one are not exact.
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}

fn put_text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

fn put_line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        svg,
        "<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn put_polyline(svg: &mut String, places: &[(f64, f64)], colour: &str) {
    let _ = write!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"");
    for (x, y) in places {
        let _ = write!(svg, "{x:.1},{y:.1} ");
    }
    svg.push_str("\"/>\n");
}

fn put_dots(svg: &mut String, places: &[(f64, f64)], colour: &str) {
    for (x, y) in places {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_spreads_its_values_evenly_by_factor() {
        let axis = Axis { low: 1.0, high: 100.0, page: (0.0, 200.0) };
        assert_eq!([1.0, 10.0, 100.0].map(|value| axis.place(value).round()), [0.0, 100.0, 200.0]);
        let ticks: Vec<f64> = axis.ticks().into_iter().map(|tick| tick.0).collect();
        assert_eq!(ticks, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
    }

    #[test]
    fn a_chart_has_every_line_and_escapes_its_words() {
        let line =
            |name: &str| Line { name: name.to_owned(), points: vec![(1.0, 2.0), (10.0, 3.0)] };
        let chart = Chart {
            title: "a < b".to_owned(),
            x_label: "x".to_owned(),
            y_label: "y".to_owned(),
            lines: vec![line("one"), line("two")],
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains("a &lt; b") && svg.contains(">two</text>"));
    }
}
