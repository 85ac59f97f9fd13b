//! The files that a schema may import without a reference, because Confluent's registry and serializers have
//! them built in: no more of them than names, numbers and types. Google's `google/protobuf/*.proto` come with the
//! parser.

/// Reads them from their folder.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("imports/", $name)))),*]
    };
}

/// Name and text of each.
pub(super) const BUILT_IN: [(&str, &str); 18] = built_in![
    "confluent/meta.proto",
    "confluent/type/decimal.proto",
    "confluent/type/variant.proto",
    "confluent/types/decimal.proto",
    "google/type/calendar_period.proto",
    "google/type/color.proto",
    "google/type/date.proto",
    "google/type/datetime.proto",
    "google/type/dayofweek.proto",
    "google/type/expr.proto",
    "google/type/fraction.proto",
    "google/type/interval.proto",
    "google/type/latlng.proto",
    "google/type/money.proto",
    "google/type/month.proto",
    "google/type/postal_address.proto",
    "google/type/quaternion.proto",
    "google/type/timeofday.proto",
];
