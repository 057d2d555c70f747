//! The little that the layout of a row needs to know of a column's type.

/// How values of a type are laid out.
///
/// From the type's class name in the serialization header (Cassandra's `AbstractType.toString`),
/// such as `org.apache.cassandra.db.marshal.MapType(…)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataType {
    /// As it stands in the header.
    pub class: String,
    /// The length of every value, where the type has one (`AbstractType.valueLengthIfFixed`).
    pub fixed_length: Option<usize>,
    /// Whether the column consists of several cells: a collection or user-defined type that is not
    /// frozen.
    pub multi_cell: bool,
}

impl DataType {
    pub(super) fn parse(class: &str) -> Self {
        // A reversed type is laid out as the type itself.
        let inner = in_order(class);
        let multi_cell = ["ListType", "SetType", "MapType", "UserType"].contains(&simple_name(inner));
        Self { class: class.to_owned(), fixed_length: fixed_length(inner, 0), multi_cell }
    }
}

/// The type itself of one that sorts in reverse.
pub(super) fn in_order(mut class: &str) -> &str {
    while let Some(argument) = argument_of(class, "ReversedType") {
        class = argument;
    }
    class
}

/// `CompositeType(a,MapType(b,c))` -> `a`, `MapType(b,c)`.
pub(super) fn arguments_of<'a>(class: &'a str, wrapper: &str) -> Option<Vec<&'a str>> {
    let inner = argument_of(class, wrapper)?;
    let (mut depth, mut from, mut found) = (0_usize, 0, Vec::new());
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                found.push(inner[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(inner[from..].trim());
    Some(found)
}

/// `org.apache.cassandra.db.marshal.MapType(…)` -> `MapType`.
pub(super) fn simple_name(class: &str) -> &str {
    let name = class.split('(').next().unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default()
}

fn argument_of<'a>(class: &'a str, wrapper: &str) -> Option<&'a str> {
    if simple_name(class) != wrapper {
        return None;
    }
    class.split_once('(')?.1.strip_suffix(')')
}

fn fixed_length(class: &str, depth: usize) -> Option<usize> {
    match simple_name(class) {
        "EmptyType" => Some(0),
        "BooleanType" => Some(1),
        "FloatType" | "Int32Type" => Some(4),
        "DateType" | "DoubleType" | "LongType" | "TimestampType" => Some(8),
        "LexicalUUIDType" | "TimeUUIDType" | "UUIDType" => Some(16),
        // A vector of fixed-length elements; vectors nest.
        "VectorType" if depth < 8 => {
            let (element, count) = argument_of(class, "VectorType")?.rsplit_once(',')?;
            let count: usize = count.trim().parse().ok()?;
            fixed_length(element.trim(), depth + 1)?.checked_mul(count)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_several_columns_is_taken_apart() {
        assert_eq!(arguments_of("x.CompositeType(a, Map(b,c),d)", "CompositeType"), Some(vec!["a", "Map(b,c)", "d"]));
        assert_eq!(arguments_of("UTF8Type", "CompositeType"), None);
    }

    #[test]
    fn layout_follows_the_class_name() {
        const P: &str = "org.apache.cassandra.db.marshal.";
        for (class, fixed_length, multi_cell) in [
            (format!("{P}UTF8Type"), None, false),
            (format!("{P}Int32Type"), Some(4), false),
            (format!("{P}ReversedType({P}TimeUUIDType)"), Some(16), false),
            (format!("{P}MapType({P}UTF8Type,{P}UTF8Type)"), None, true),
            (format!("{P}FrozenType({P}MapType({P}UTF8Type,{P}UTF8Type))"), None, false),
            (format!("{P}VectorType({P}FloatType , 3)"), Some(12), false),
            (format!("{P}VectorType({P}UTF8Type , 3)"), None, false),
            ("ReversedType(".into(), None, false),
            (String::new(), None, false),
        ] {
            let parsed = DataType::parse(&class);
            assert_eq!((parsed.fixed_length, parsed.multi_cell), (fixed_length, multi_cell), "{class}");
        }
    }
}
