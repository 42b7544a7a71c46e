//! Buildings and walls beside a map file.
//!
//! `NAME.solids.txt` beside `NAME.xodr`, one box a line: `kind x y z half_x half_y half_z yaw`, in CARLA's frame, metres
//! and degrees, z the height of the centre; `#` begins a comment. A kind is what collision events call it:
//! `static.building`.

use std::fs;
use std::io;
use std::path::Path;

use carla_online_world::stage::contact::Solid;

use crate::error::Error;

const MAX_SOLIDS: usize = 10_000;

/// The boxes of a file; none if there is no file.
pub fn read(path: &Path) -> Result<Vec<Solid>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(Error::Maps {
                path: path.to_owned(),
                source,
            });
        }
    };
    parse(&text).map_err(|line| Error::Solids {
        path: path.to_owned(),
        line,
    })
}

/// The boxes of a text, or the number of the line that isn't one.
fn parse(text: &str) -> Result<Vec<Solid>, usize> {
    let mut solids = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let solid = solid(line)
            .filter(|_| solids.len() < MAX_SOLIDS)
            .ok_or(index + 1)?;
        solids.push(solid);
    }
    Ok(solids)
}

fn solid(line: &str) -> Option<Solid> {
    let mut words = line.split_whitespace();
    let kind = words.next()?.to_owned();
    let numbers: Vec<f32> = words
        .map(|word| word.parse().ok().filter(|n: &f32| n.is_finite()))
        .collect::<Option<_>>()?;
    let [x, y, z, half_x, half_y, half_z, yaw_deg] = numbers.try_into().ok()?;
    let half = [half_x, half_y, half_z];
    half.iter().all(|value| *value > 0.0).then_some(Solid {
        center: [x, y, z],
        half,
        yaw_deg,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_read_and_a_bad_line_is_named() {
        let text = "# a town\nstatic.building 1 2 3 4 5 6 90 # corner house\n\n";
        let solids = parse(text).unwrap();
        assert_eq!(
            (solids[0].center, solids[0].yaw_deg),
            ([1.0, 2.0, 3.0], 90.0)
        );
        assert_eq!(parse(&format!("{text}static.wall 1 2 3 0 5 6 90")), Err(4));
        assert_eq!(parse("static.wall 1 2 nan 1 5 6 90"), Err(1));
    }
}
