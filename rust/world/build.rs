//! Gives the crate its build id: the sources that decide a trajectory, the compiler and the target.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// FNV-1a, 64 bits.
fn hash(mut state: u64, bytes: &[u8]) -> u64 {
    for &byte in bytes {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state
}

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = vec![here.join("../../Cargo.lock")];
    for folder in [here.join("src"), here.join("../roads/src")] {
        println!("cargo:rerun-if-changed={}", folder.display());
        sources(&folder, &mut files);
    }
    // By path below the workspace, so that the same sources elsewhere are the same build.
    let mut contents: Vec<(String, Vec<u8>)> = files
        .iter()
        .map(|file| {
            let name = file
                .strip_prefix(&here)
                .unwrap_or(file)
                .display()
                .to_string();
            (name, fs::read(file).unwrap_or_default())
        })
        .collect();
    contents.sort();
    let mut state = 0xcbf2_9ce4_8422_2325;
    for (name, content) in &contents {
        state = hash(hash(state, name.as_bytes()), content);
    }
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(compiler)
        .arg("-vV")
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    state = hash(state, &version);
    for variable in ["TARGET", "OPT_LEVEL", "CARGO_CFG_TARGET_FEATURE"] {
        state = hash(state, env::var(variable).unwrap_or_default().as_bytes());
    }
    println!(
        "cargo:rustc-env=CARLA_ONLINE_WORLD_BUILD={}-{state:016x}",
        env!("CARGO_PKG_VERSION")
    );
}
