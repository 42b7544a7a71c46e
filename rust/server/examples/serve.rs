//! Serves until its standard input ends: `serve PORT MAP [MAPS_DIRECTORY [NAME=MAP...]]`.
//!
//! What `carla-online serve` does, without Python: for debuggers and profilers.

use std::env;
use std::io::{self, Read};

use carla_online_server::{Options, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = env::args().skip(1);
    let port = words.next().map_or(Ok(2000), |word| word.parse())?;
    let map = words.next().unwrap_or_else(|| Options::default().map);
    let maps = words.next().map(Into::into);
    let aliases = words
        .filter_map(|word| {
            word.split_once('=')
                .map(|(one, two)| (one.into(), two.into()))
        })
        .collect();
    let server = Server::start(&Options {
        port,
        map,
        maps,
        aliases,
        ..Options::default()
    })?;
    println!("serving on port {}", server.port());
    io::stdin().read_to_end(&mut Vec::new())?;
    for line in server.take_journal() {
        println!("{line}");
    }
    Ok(())
}
