//! Pieces of OpenDRIVE text that every written map has, and checks of what is to be written.

use std::fmt::Write;

use crate::Error;

/// OpenDRIVE 1.4 and a projection: without one CARLA warns at each load.
pub(super) const HEADER: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<OpenDRIVE>\
    <header revMajor=\"1\" revMinor=\"4\" name=\"carla-online\" version=\"1.00\" north=\"0\" \
    south=\"0\" east=\"0\" west=\"0\"><geoReference><![CDATA[+proj=tmerc +lat_0=0 +lon_0=0 +k=1 \
    +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs]]></geoReference></header>\n";

pub(super) fn write_lane(
    out: &mut String,
    id: i32,
    kind: &str,
    width: f64,
    link: &str,
    mark: &str,
) {
    let _ = writeln!(
        out,
        "<lane id=\"{id}\" type=\"{kind}\" level=\"false\"><link>{link}</link>\
         <width sOffset=\"0\" a=\"{width}\" b=\"0\" c=\"0\" d=\"0\"/>{mark}</lane>"
    );
}

pub(super) fn mark(kind: &str, color: &str, change: &str) -> String {
    format!(
        "<roadMark sOffset=\"0\" type=\"{kind}\" weight=\"standard\" color=\"{color}\" \
         width=\"0.15\" laneChange=\"{change}\"/>"
    )
}

pub(super) fn within(
    name: &'static str,
    value: f64,
    low: f64,
    high: f64,
    expected: &'static str,
) -> Result<(), Error> {
    // NaN lies in no range.
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(bad(name, value, expected))
}

pub(super) fn bad(name: &'static str, value: f64, expected: &'static str) -> Error {
    Error::BadValue {
        context: "road specification".to_owned(),
        name,
        value: value.to_string(),
        expected,
    }
}

pub(super) fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), Error> {
    if count <= limit {
        return Ok(());
    }
    Err(crate::reader::too_large(what, count, limit))
}
