//! Line charts as SVG.
//!
//! Knows which chart curves of cost need: two logarithmic axes, lines with a dot at each
//! point, and the names of the lines beside them. `plotters` draws it.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 420);
/// Where the lines' names begin.
const NAMES_FROM: u32 = 570;
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0xb2, 0x18, 0x2b),
];
const GRID: RGBColor = RGBColor(0xcc, 0xcc, 0xcc);
const FONT: &str = "system-ui, sans-serif";
const TEXT_PIXELS: i32 = 15;
const TITLE_PIXELS: i32 = 19;
const STROKE_PIXELS: u32 = 2;
const DOT_PIXELS: u32 = 3;

/// A chart with logarithmic axes.
pub struct Chart {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub lines: Vec<Line>,
}

/// One line of a chart; points must be above zero on both axes.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

impl Chart {
    /// The chart as a whole SVG document.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let page = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        self.draw(&page).expect("drawing into memory does not fail");
        drop(page);
        svg
    }

    fn draw<'a>(&self, page: &Area<'a>) -> Drawn<'a> {
        page.fill(&WHITE)?;
        let (left, right) = page.split_horizontally(NAMES_FROM);
        self.draw_lines(&left)?;
        self.draw_names(&right)
    }

    fn draw_lines<'a>(&self, area: &Area<'a>) -> Drawn<'a> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = around(points().map(|point| point.0));
        let y = around(points().map(|point| point.1));
        let (x_ticks, y_ticks) = (ticks(&x), ticks(&y));
        let (x_count, y_count) = (x_ticks.len(), y_ticks.len());
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, TITLE_PIXELS))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(66)
            .build_cartesian_2d(
                x.log_scale().with_key_points(x_ticks),
                y.log_scale().with_key_points(y_ticks),
            )?;
        chart
            .configure_mesh()
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .label_style((FONT, TEXT_PIXELS))
            .x_labels(x_count)
            .y_labels(y_count)
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (at, line) in self.lines.iter().enumerate() {
            let style = colour(at).filled().stroke_width(STROKE_PIXELS);
            let series = LineSeries::new(line.points.iter().copied(), style);
            chart.draw_series(series.point_size(DOT_PIXELS))?;
        }
        Ok(())
    }

    fn draw_names<'a>(&self, area: &Area<'a>) -> Drawn<'a> {
        for (at, line) in self.lines.iter().enumerate() {
            let y = 50 + 20 * at as i32;
            let style = colour(at).stroke_width(STROKE_PIXELS);
            area.draw(&PathElement::new([(4, y), (24, y)], style))?;
            let below_the_middle = TEXT_PIXELS / 2;
            let place = (30, y - below_the_middle);
            area.draw(&Text::new(line.name.as_str(), place, (FONT, TEXT_PIXELS)))?;
        }
        Ok(())
    }
}

fn colour(line: usize) -> RGBColor {
    COLOURS[line % COLOURS.len()]
}

/// The part of an axis that holds all values, and some room: a line along the edge of the frame
/// would be hard to see.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    if low.is_finite() && low > 0.0 { low / 1.15..high * 1.15 } else { 1.0..10.0 }
}

/// 1, 2 and 5 of each power of ten; of a long axis the powers alone. A logarithmic axis of
/// `plotters` has no tick between two powers.
fn ticks(axis: &Range<f64>) -> Vec<f64> {
    let steps: &[f64] = if axis.end / axis.start > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = (axis.start.log10().floor() as i32)..=(axis.end.log10().ceil() as i32);
    powers
        .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
        .filter(|value| axis.contains(value))
        .collect()
}

fn short(value: &f64) -> String {
    match *value {
        value @ 1e6.. => format!("{}M", value / 1e6),
        value @ 1e3.. => format!("{}k", value / 1e3),
        // Powers of ten below one are not exact.
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_marked_at_one_two_and_five_of_each_power_of_ten() {
        assert_eq!(ticks(&(1.0..101.0)), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(ticks(&(0.5..1001.0)), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(around([2.0, 20.0].into_iter()), 2.0 / 1.15..20.0 * 1.15);
        assert_eq!(around(std::iter::empty()), 1.0..10.0);
    }

    #[test]
    fn a_chart_has_every_line_and_tick_and_escapes_its_words() {
        let line =
            |name: &str| Line { name: name.to_owned(), points: vec![(1.0, 2.0), (10.0, 3000.0)] };
        let chart = Chart {
            title: "a < b".to_owned(),
            x_label: "members".to_owned(),
            y_label: "cost".to_owned(),
            lines: vec![line("one"), line("two")],
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("<circle").count(), 4);
        let words: Vec<&str> = svg.lines().map(str::trim).collect();
        for word in ["a &lt; b", "members", "cost", "one", "two", "5", "1k"] {
            assert!(words.contains(&word), "{word} in {svg}");
        }
    }

    #[test]
    fn a_chart_without_points_is_drawn() {
        let [title, x_label, y_label] = ["none", "x", "y"].map(str::to_owned);
        let chart = Chart { title, x_label, y_label, lines: Vec::new() };
        assert!(chart.svg().ends_with("</svg>\n"));
    }
}
