//! The SSTable reader against Cassandra's own `sstabledump` on real `system_schema` SSTables, row
//! by row.

use testkit::schema_fixtures;

use cassmount::cassandra::SstableName;
use cassmount::cassandra::sstable::{
    self, Bound, Cell, Column, Deletion, Files, Partition, RangeMarker, Row, Unfiltered,
};
use serde_json::{Map, Value, json};

#[test]
fn every_sstable_reads_as_sstabledump_reads_it() {
    for archive in schema_fixtures::archives() {
        let mut count = 0;
        let files = schema_fixtures::files(&archive);
        for (path, dump) in files.iter().filter(|(path, _)| path.ends_with("-Data.json")) {
            let component = |name: &str| files.get(&path.replace("Data.json", name)).map(Vec::as_slice);
            let name = path.rsplit('/').next().unwrap();
            let name = SstableName::parse_component(name).unwrap().sstable;
            let input = Files {
                data: component("Data.db").unwrap(),
                statistics: component("Statistics.db").unwrap(),
                compression_info: component("CompressionInfo.db"),
                crc: component("CRC.db"),
            };
            let table = sstable::read(&name, &input).unwrap_or_else(|error| panic!("{archive} {path}: {error}"));
            let expected: Vec<Value> = serde_json::from_slice(dump).unwrap();
            assert_eq!(table.partitions.len(), expected.len(), "{archive} {path}");
            for (partition, expected) in table.partitions.iter().zip(expected) {
                assert_eq!(Dump(&table.header).partition(partition), expected, "{archive} {path}");
            }
            count += 1;
        }
        assert!(count > 0, "{archive} is empty");
    }
}

/// Renders like sstabledump's `JsonTransformer` with raw times, without the positions.
struct Dump<'a>(&'a sstable::Header);

impl Dump<'_> {
    fn partition(&self, partition: &Partition) -> Value {
        let mut head = json!({ "key": [String::from_utf8(partition.key.clone()).unwrap()] });
        if let Some(deletion) = partition.deletion {
            head["deletion_info"] = deletion_info(deletion);
        }
        assert_eq!(partition.static_row, None, "no schema table has static columns");
        let rows: Vec<Value> = partition
            .rows
            .iter()
            .map(|row| match row {
                Unfiltered::Row(row) => self.row(row),
                Unfiltered::Marker(marker) => self.marker(marker),
            })
            .collect();
        json!({ "partition": head, "rows": rows })
    }

    fn row(&self, row: &Row) -> Value {
        let mut object = json!({ "type": "row" });
        if !row.clustering.is_empty() {
            object["clustering"] = self.clustering(&row.clustering).into();
        }
        if let Some(liveness) = row.liveness {
            assert_eq!(liveness.expiry, None);
            object["liveness_info"] = json!({ "tstamp": liveness.timestamp.to_string() });
        }
        if let Some(deletion) = row.deletion {
            object["deletion_info"] = deletion_info(deletion);
        }
        let columns = &self.0.regular_columns;
        let deleted = row.column_deletions.iter().map(
            |&(column, deletion)| json!({ "name": columns[column].name, "deletion_info": deletion_info(deletion) }),
        );
        let cells = row.cells.iter().map(|cell| Self::cell(&columns[cell.column], cell, row));
        object["cells"] = deleted.chain(cells).collect::<Vec<_>>().into();
        object
    }

    fn cell(column: &Column, cell: &Cell, row: &Row) -> Value {
        let mut object = json!({ "name": column.name });
        match &cell.value {
            Some(bytes) => object["value"] = value(&column.data_type.class, bytes),
            None => {
                object["deletion_info"] = json!({ "local_delete_time": cell.deleted_seconds.unwrap().to_string() });
            }
        }
        if row.liveness.is_none_or(|liveness| liveness.timestamp != cell.timestamp) {
            object["tstamp"] = cell.timestamp.to_string().into();
        }
        assert_eq!((&cell.path, cell.expiry), (&None, None), "schema tables have neither");
        object
    }

    fn clustering(&self, values: &[Option<Vec<u8>>]) -> Vec<Value> {
        let types = self.0.clustering.iter().enumerate();
        types
            .map(|(index, data_type)| match values.get(index) {
                None => "*".into(),
                Some(None) => Value::Null,
                Some(Some(bytes)) => value(&data_type.class, bytes),
            })
            .collect()
    }

    fn marker(&self, marker: &RangeMarker) -> Value {
        let (end, start) = match marker.bound {
            Bound::ExclusiveEnd => (Some("exclusive"), None),
            Bound::InclusiveEnd => (Some("inclusive"), None),
            Bound::ExclusiveStart => (None, Some("exclusive")),
            Bound::InclusiveStart => (None, Some("inclusive")),
            Bound::ExclusiveEndInclusiveStart => (Some("exclusive"), Some("inclusive")),
            Bound::InclusiveEndExclusiveStart => (Some("inclusive"), Some("exclusive")),
        };
        let boundary = end.is_some() && start.is_some();
        let mut object = json!({ "type": if boundary { "range_tombstone_boundary" } else { "range_tombstone_bound" } });
        for (name, kind, deletion) in [("start", start, marker.starts), ("end", end, marker.ends)] {
            assert_eq!(kind.is_some(), deletion.is_some());
            if let (Some(kind), Some(deletion)) = (kind, deletion) {
                object[name] = json!({ "type": kind, "deletion_info": deletion_info(deletion) });
                if !marker.clustering.is_empty() {
                    object[name]["clustering"] = self.clustering(&marker.clustering).into();
                }
            }
        }
        object
    }
}

fn deletion_info(deletion: Deletion) -> Value {
    json!({
        "marked_deleted": deletion.timestamp.to_string(),
        "local_delete_time": deletion.local_seconds.to_string(),
    })
}

/// A value as Cassandra's `toJSONString` gives it.
fn value(class: &str, bytes: &[u8]) -> Value {
    let class = class.replace("org.apache.cassandra.db.marshal.", "");
    let (name, argument) = match class.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')').unwrap()),
        None => (&*class, ""),
    };
    match name {
        "FrozenType" => value(argument, bytes),
        "UTF8Type" => std::str::from_utf8(bytes).unwrap().into(),
        "BytesType" => {
            format!("0x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()).into()
        }
        "BooleanType" => (bytes == [1]).into(),
        "Int32Type" => i32::from_be_bytes(bytes.try_into().unwrap()).into(),
        "DoubleType" => f64::from_be_bytes(bytes.try_into().unwrap()).into(),
        "UUIDType" => {
            let id = cassmount::cassandra::TableId(bytes.try_into().unwrap());
            id.dashed().into()
        }
        "TimestampType" => {
            let millis = i64::from_be_bytes(bytes.try_into().unwrap());
            match jiff::Timestamp::from_millisecond(millis) {
                Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string().into(),
                // The columns that system tables had in older versions were dropped "at the end of
                // time".
                Err(_) if millis == i64::MAX / 1000 => "+294247-01-10 04:00:54.775Z".into(),
                Err(error) => panic!("{error}"),
            }
        }
        "ListType" | "SetType" => elements(bytes, 1).iter().map(|element| value(argument, element)).collect(),
        "MapType" => {
            let (key, mapped) = argument.split_once(',').unwrap();
            let mut map = Map::new();
            for pair in elements(bytes, 2).chunks(2) {
                map.insert(value(key, pair[0]).as_str().unwrap().into(), value(mapped, pair[1]));
            }
            map.into()
        }
        other => panic!("type {other} is not expected in a schema table"),
    }
}

fn elements(bytes: &[u8], per_entry: usize) -> Vec<&[u8]> {
    let (count, mut rest) = bytes.split_first_chunk().unwrap();
    (0..u32::from_be_bytes(*count) as usize * per_entry)
        .map(|_| {
            let (length, after) = rest.split_first_chunk().unwrap();
            let (element, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            rest = after;
            element
        })
        .collect()
}
