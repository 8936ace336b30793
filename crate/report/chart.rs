//! Charts as inline SVG: numbers in, markup out. What they show is said in words, too: a title, a
//! description, and a table elsewhere on the page.

use std::fmt::Write;

use super::markup::{count, decimal, escape, percent};

/// A point: x and y.
pub type Point = (f64, f64);

/// Beyond these a curve has more points than a screen.
const POINTS: usize = 400;
/// Of a scatter plot.
const DOTS: usize = 2000;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// A line of a chart; `class` is its look.
pub struct Series {
    pub class: &'static str,
    pub points: Vec<Point>,
    /// Every point has a dot, with its numbers under the pointer.
    pub dots: bool,
}

/// Lines over the same x.
#[derive(Default)]
pub struct LineChart<'a> {
    /// Unique on the page.
    pub id: &'a str,
    pub title: &'a str,
    pub x_name: &'a str,
    pub series: Vec<Series>,
    /// A level to compare with, and what it is.
    pub baseline: Option<(f64, &'a str)>,
    /// The y values are shares.
    pub percent: bool,
}

/// The chart; empty where there is no point to draw.
pub fn line_chart(chart: &LineChart) -> String {
    let series: Vec<_> = chart.series.iter().map(|s| (s, thinned(&drawable(&s.points)))).collect();
    let all = || series.iter().flat_map(|(_, points)| points);
    if all().next().is_none() {
        return String::new();
    }
    let level = chart.baseline.iter().map(|(level, _)| *level).filter(|level| is_drawable(*level));
    let y = Axis::over(all().map(|point| point.1).chain(level).chain([0.0]), chart.percent);
    let x = Axis::over(all().map(|point| point.0).chain([0.0]), false);
    let last = all().map(|point| point.0).fold(0.0, f64::max);
    let frame = Frame { x: x.ending_at(last), y, height: HEIGHT };
    let mut inside = frame.grid(chart.x_name);
    for (series, points) in &series {
        inside += &frame.line(series, points, chart.percent);
    }
    if let Some((level, words)) = chart.baseline.filter(|(level, _)| is_drawable(*level)) {
        inside += &frame.baseline(level, words);
    }
    svg(chart.id, chart.title, &gist(chart), (WIDTH, HEIGHT), &inside)
}

/// A dot each for what is true (x) and what was predicted (y), and the line where both agree.
pub fn scatter(id: &str, title: &str, points: &[Point]) -> String {
    let all = drawable(points);
    if all.is_empty() {
        return String::new();
    }
    let step = all.len().div_ceil(DOTS);
    let axis = || Axis::over(all.iter().flat_map(|(x, y)| [*x, *y]), false);
    let frame = Frame { x: axis(), y: axis(), height: WIDTH };
    let (low, high) = (frame.x.low, frame.x.high);
    let mut inside = frame.grid("true");
    let _ = write!(
        inside,
        "<path class=\"baseline\" d=\"{}\"/>",
        frame.path(&[(low, low), (high, high)])
    );
    for point in all.iter().step_by(step) {
        inside += &frame.dot("point", *point, 4.0, false);
    }
    let words = match step {
        1 => format!("{} rows. Right predictions are on the diagonal.", count(all.len() as f64)),
        _ => format!(
            "{} of {} rows, evenly picked. Right predictions are on the diagonal.",
            count(all.len().div_ceil(step) as f64),
            count(all.len() as f64)
        ),
    };
    svg(id, title, &words, (WIDTH, WIDTH), &inside)
}

/// A confusion matrix of many labels: true ones in lines, predicted ones in columns. The darker a
/// field, the larger its share of the line.
pub fn heat_map(id: &str, title: &str, matrix: &[Vec<f64>], labels: &[String]) -> String {
    let cell = (560.0 / labels.len().max(1) as f64).round().clamp(12.0, 22.0);
    let longest = labels.iter().map(|label| name(label).chars().count()).max().unwrap_or(0);
    let names = 14.0 + 7.0 * longest as f64;
    let size = names + cell * labels.len() as f64;
    let mut inside = String::new();
    for (place, label) in labels.iter().enumerate() {
        let (middle, name) = (names + cell * (place as f64 + 0.5) + 4.0, escape(&name(label)));
        let _ = write!(
            inside,
            "<text x=\"{before}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>\
             <text transform=\"translate({middle} {before}) rotate(-90)\">{name}</text>",
            before = names - 6.0,
        );
    }
    let _ = write!(
        inside,
        "<rect class=\"field\" x=\"{names}\" y=\"{names}\" width=\"{0}\" height=\"{0}\"/>",
        size - names
    );
    for (truth, row) in matrix.iter().enumerate().take(labels.len()) {
        let total: f64 = row.iter().sum();
        for (guess, number) in row.iter().enumerate().take(labels.len()) {
            if *number <= 0.0 {
                continue;
            }
            let _ = write!(
                inside,
                "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{cell}\" height=\"{cell}\" \
                 fill-opacity=\"{:.2}\"><title>{} taken for {}: {}</title></rect>",
                if truth == guess { "right" } else { "wrong" },
                names + cell * guess as f64,
                names + cell * truth as f64,
                (number / total).sqrt().clamp(0.15, 1.0),
                escape(&labels[truth]),
                escape(&labels[guess]),
                count(*number),
            );
        }
    }
    let words = "True labels in lines, predicted labels in columns; a table of the most frequent \
                 confusions follows.";
    svg(id, title, words, (size, size), &inside)
}

/// A label that fits beside a heat map.
fn name(label: &str) -> String {
    match label.char_indices().nth(18) {
        Some((end, _)) => format!("{}…", &label[..end]),
        None => label.to_string(),
    }
}

fn svg(id: &str, title: &str, words: &str, (width, height): (f64, f64), inside: &str) -> String {
    let (id, title, words) = (escape(id), escape(title), escape(words));
    format!(
        "<svg role=\"img\" class=\"plot\" viewBox=\"0 0 {width} {height}\" \
         style=\"--width:{width}\" aria-labelledby=\"{id}-title {id}-words\">\
         <title id=\"{id}-title\">{title}</title><desc id=\"{id}-words\">{words}</desc>\n\
         {inside}</svg>\n"
    )
}

/// What a chart shows, for those who do not see it.
fn gist(chart: &LineChart) -> String {
    let points = chart.series.iter().max_by_key(|series| drawable(&series.points).len());
    let points = points.map_or(Vec::new(), |series| drawable(&series.points));
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let shown =
        |value: f64| if chart.percent { percent(Some(value)) } else { decimal(Some(value)) };
    format!(
        "From {} at {} to {} at {} {}.",
        shown(first.1),
        decimal(Some(first.0)),
        shown(last.1),
        decimal(Some(last.0)),
        chart.x_name
    )
}

/// Numbers so large that their differences overflow are no use on paper.
fn is_drawable(value: f64) -> bool {
    value.abs() < 1e100
}

fn drawable(points: &[Point]) -> Vec<Point> {
    let kept = points.iter().filter(|(x, y)| is_drawable(*x) && is_drawable(*y));
    kept.copied().collect()
}

/// Averages neighbours until there are no more points than a screen can show.
pub fn thinned(points: &[Point]) -> Vec<Point> {
    let size = points.len().div_ceil(POINTS).max(1);
    let mean = |group: &[Point]| {
        let sum: f64 = group.iter().map(|point| point.1).sum();
        Some((group.last()?.0, sum / group.len() as f64))
    };
    points.chunks(size).filter_map(mean).collect()
}

/// A moving average that forgets, and unlike the usual one does not start at zero.
pub fn smoothed(points: &[Point]) -> Vec<Point> {
    const KEEP: f64 = 0.9;
    let (mut sum, mut weight) = (0.0, 0.0);
    let smooth = |(x, y): Point| {
        sum = KEEP * sum + (1.0 - KEEP) * y;
        weight = KEEP * weight + (1.0 - KEEP);
        (x, sum / weight)
    };
    drawable(points).into_iter().map(smooth).collect()
}

/// Round numbers from just below the lowest to just above the highest value.
struct Axis {
    ticks: Vec<f64>,
    low: f64,
    high: f64,
    percent: bool,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, percent: bool) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        // Where all values are the same, and too small or too close to part them.
        let high = if high - low > high.abs() * 1e-9 { high } else { low + low.abs().max(1.0) };
        let rough = (high - low) / 4.0;
        let power = 10f64.powf(rough.log10().floor());
        let sizes = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
        let size = sizes.into_iter().find(|size| *size >= rough * 0.999).unwrap_or(sizes[4]);
        let (first, last) = ((low / size + 1e-9).floor(), (high / size - 1e-9).ceil());
        let steps = (last - first).clamp(1.0, 8.0) as usize;
        let ticks: Vec<f64> = (0..=steps).map(|step| (first + step as f64) * size).collect();
        Axis { low: ticks[0], high: ticks[steps], ticks, percent }
    }

    /// Cut where the data ends.
    fn ending_at(mut self, last: f64) -> Self {
        if last > self.low {
            self.ticks.retain(|tick| *tick <= last);
            self.high = last;
        }
        self
    }

    /// From 0 to 1.
    fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn words(&self, tick: f64) -> String {
        match self.percent {
            true => format!("{}%", decimal(Some((tick * 1000.0).round() / 10.0))),
            false if tick.abs() >= 1000.0 && tick.abs() < 1e6 => count(tick),
            false => decimal(Some(tick)),
        }
    }
}

/// Where numbers are on paper.
struct Frame {
    x: Axis,
    y: Axis,
    height: f64,
}

impl Frame {
    fn place(&self, (x, y): Point) -> Point {
        let (wide, high) = (WIDTH - LEFT - RIGHT, self.height - TOP - BOTTOM);
        (LEFT + wide * self.x.share(x), self.height - BOTTOM - high * self.y.share(y))
    }

    fn grid(&self, x_name: &str) -> String {
        let (mut svg, right, bottom) = (String::new(), WIDTH - RIGHT, self.height - BOTTOM);
        for tick in &self.y.ticks {
            let (_, y) = self.place((self.x.low, *tick));
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.5,
                self.y.words(*tick)
            );
        }
        for tick in &self.x.ticks {
            let (x, _) = self.place((*tick, self.y.low));
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 17.0,
                self.x.words(*tick)
            );
        }
        let (below, name) = (self.height - 5.0, escape(x_name));
        let _ =
            writeln!(svg, "<text x=\"{right}\" y=\"{below}\" text-anchor=\"end\">{name}</text>");
        svg
    }

    fn baseline(&self, level: f64, words: &str) -> String {
        let (left, y) = self.place((self.x.low, level));
        let right = WIDTH - RIGHT;
        // Above the line, and below it where there is no room.
        let beside = if y < TOP + 20.0 { y + 16.0 } else { y - 6.0 };
        format!(
            "<line class=\"baseline\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"note\" x=\"{right}\" y=\"{beside:.1}\" text-anchor=\"end\">{}</text>\n",
            escape(words)
        )
    }

    fn line(&self, series: &Series, points: &[Point], percent: bool) -> String {
        let class = series.class;
        let mut svg = format!("<path class=\"{class}\" d=\"{}\"/>\n", self.path(points));
        if series.dots || points.len() == 1 {
            svg.extend(points.iter().map(|point| self.dot(class, *point, 3.5, percent)));
        }
        svg
    }

    fn path(&self, points: &[Point]) -> String {
        let mut path = String::new();
        for (place, point) in points.iter().enumerate() {
            let (x, y) = self.place(*point);
            let _ = write!(path, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
        }
        path
    }

    fn dot(&self, class: &str, point: Point, radius: f64, is_share: bool) -> String {
        let (x, y) = self.place(point);
        let value = if is_share { percent(Some(point.1)) } else { decimal(Some(point.1)) };
        let at = decimal(Some(point.0));
        format!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\">\
             <title>{at}: {value}</title></circle>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64]) -> Vec<f64> {
        Axis::over(values.iter().copied(), false).ticks
    }

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        assert_eq!(ticks(&[0.0, 1.0]), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(ticks(&[0.0, 14.0]), [0.0, 5.0, 10.0, 15.0]);
        assert_eq!(ticks(&[-0.3, 0.9]), [-0.5, 0.0, 0.5, 1.0]);
        for values in [[0.0, 0.0], [7.0, 7.0], [-3.0, -3.0], [1e99, -1e99], [1e17, 1e17 + 16.0]] {
            let ticks = ticks(&values);
            assert!(ticks[0] <= values[1] && values[0] <= ticks[ticks.len() - 1], "{ticks:?}");
            assert!(ticks[0] < ticks[ticks.len() - 1], "{ticks:?}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let points = vec![(1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 1e300), (4.0, 2.0)];
        let series = vec![Series { class: "a", points, dots: true }];
        let chart = LineChart { id: "x", title: "t", series, ..LineChart::default() };
        let svg = line_chart(&chart);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(line_chart(&LineChart::default()), "");
        assert_eq!(scatter("s", "t", &[(f64::NAN, 1.0)]), "");
    }

    #[test]
    fn long_series_are_averaged() {
        let points: Vec<Point> = (0..1000).map(|i| (f64::from(i), f64::from(i))).collect();
        let thin = thinned(&points);
        assert_eq!((thin.len(), thin[0], thin[333]), (334, (2.0, 1.0), (999.0, 999.0)));
        let level = smoothed(&[(1.0, 3.0), (2.0, 3.0)]);
        assert!((level[0].1 - 3.0).abs() < 1e-12 && (level[1].1 - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_scatter_says_how_many_rows_it_shows() {
        let points: Vec<Point> = (0..4001).map(|i| (f64::from(i), 1.0)).collect();
        let svg = scatter("s", "t", &points);
        assert_eq!(svg.matches("<circle").count(), 1334);
        assert!(svg.contains("1,334 of 4,001 rows"));
    }
}
