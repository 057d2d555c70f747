//! A fleet: twelve hosts of one cluster that back up four times a day, 28 days long, four of them
//! with a fault each.

use std::fs;
use std::path::Path;

/// A few hours after the last set: seconds since 1970-01-01.
pub const NOW: &str = "1795917600";

/// 2026-11-01T00:00:00Z.
const FIRST: i64 = 1_793_491_200;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// A full each week.
const SETS_OF_A_FULL: i64 = 28;
const SETS: i64 = 112;

/// Writes the fleet into an empty directory:
/// - `cass-03` stopped on the 25th;
/// - in `cass-05` a table is missing on the 11th;
/// - `cass-07` made nothing on the 14th and the 15th;
/// - `cass-09` made no full on the 15th.
pub fn write(bucket: &Path) {
    for number in 1..=12 {
        for index in (0..SETS).filter(|index| is_there(number, *index)) {
            write_set(bucket, number, index);
        }
    }
}

fn is_there(host: i64, index: i64) -> bool {
    match host {
        3 => index < 100,
        7 => !(52..60).contains(&index),
        9 => index != 56,
        _ => true,
    }
}

fn write_set(bucket: &Path, host: i64, index: i64) {
    let start = FIRST + index * 6 * HOUR + 2 * HOUR + (host % 5) * MINUTE;
    let tag = formatted(start, "%Y-%m-%d-%H-%M");
    let time = formatted(start + 3 * MINUTE, "%Y-%m-%dT%H:%M:%S+00:00");
    let directory = bucket.join(format!("cass-{host:02}")).join(tag);
    fs::create_dir_all(directory.join("shop")).unwrap();
    let node = r#""source_node":{"datacenter":"dc1","rack":"r1"}"#;
    let is_full = index % SETS_OF_A_FULL == 0;
    let manifest = if is_full {
        format!(r#"{{"backup_type":"full","timestamp_utc":"{time}","cluster_name":"prod",{node}}}"#)
    } else {
        let tables = r#"["shop/orders","shop/users"]"#;
        format!(r#"{{"backup_type":"incremental","timestamp_utc":"{time}","tables_backed_up":{tables},{node}}}"#)
    };
    fs::write(directory.join("backup_manifest.json"), manifest).unwrap();
    for table in ["orders", "users"] {
        let is_lacking = host == 5 && index == 40 && table == "users";
        if !is_lacking {
            let size = if is_full { 4000 } else { 300 };
            fs::write(directory.join(format!("shop/{table}.tar.gz.enc")), vec![b'x'; size]).unwrap();
        }
    }
}

fn formatted(seconds: i64, format: &str) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().strftime(format).to_string()
}
