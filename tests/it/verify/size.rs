//! Goal: figures for README.md. Method: the log of a quarantine, over and over under other names, until there are a million records; and the
//! time that a start, and a verification, take with them. Run by hand:
//! `RECORDS=1000000 cargo test --release -p stanch --test it verify::size -- --ignored --nocapture`.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;
use stanch::adapters::audit::Log;
use stanch::app::Memory;
use stanch::verify::{Entries, Expected, verify};

use super::logs::{ORIGIN, files};

/// Entries of a quarantine that is over, without what belongs to no request.
fn quarantine() -> Vec<Value> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log/quarantine");
    let mut entries = Entries::from(&folder, 0);
    let all = std::iter::from_fn(|| entries.next_entry().unwrap());
    all.map(|(_, bytes)| serde_json::from_slice(&bytes).unwrap()).collect()
}

#[test]
#[ignore = "it measures, and takes minutes"]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn a_start_with_many_records_is_measured() {
    let records: usize = std::env::var("RECORDS").map_or(100_000, |records| records.parse().unwrap());
    let (entries, folder) = (quarantine(), tempfile::tempdir().unwrap());
    let ids: BTreeSet<_> = entries.iter().filter_map(|entry| entry.get("request")?.as_str()).collect();
    assert_eq!(ids.len(), 1);
    let (mut log, _) = Log::open(folder.path(), ORIGIN).unwrap();
    for (number, chunk) in (0..records).collect::<Vec<_>>().chunks(entries.len()).enumerate() {
        let named = entries.iter().take(chunk.len()).map(|entry| {
            let mut entry = entry.clone();
            if let Some(request) = entry.get_mut("request") {
                *request = format!("r-{number:06}").into();
            }
            serde_json::to_vec(&entry).unwrap()
        });
        log.append(&named.collect::<Vec<_>>()).unwrap();
    }
    log.checkpoint().unwrap();
    drop(log);
    let bytes: u64 = files(folder.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    println!("{records} records: {} MB, {} bytes a record", bytes / 1_000_000, bytes / records as u64);

    let begun = Instant::now();
    let (log, _) = Log::open(folder.path(), ORIGIN).unwrap();
    println!("opened and compared with its checkpoint in {:?}", begun.elapsed());
    let begun = Instant::now();
    let all = log.entries(0).unwrap();
    println!("read in {:?}", begun.elapsed());
    let begun = Instant::now();
    let memory = Memory::replay(&all).unwrap();
    println!("replayed in {:?}: {} requests", begun.elapsed(), memory.state.requests.len());
    let begun = Instant::now();
    assert_eq!(verify(folder.path(), &Expected::default()).problems, []);
    println!("verified in {:?}", begun.elapsed());
}
