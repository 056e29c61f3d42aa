//! The clock changes that schedules are compared with: the local time of the zones, moment by moment.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// Zones whose clocks change, or did, in every possible way: at midnight, by half an hour, by two hours, in
/// winter, for Ramadan, for political reasons.
pub(super) const ZONES: &[&str] = &[
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Africa/Juba",
    "America/Adak",
    "America/Asuncion",
    "America/Chicago",
    "America/Havana",
    "America/Mazatlan",
    "America/Miquelon",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Scoresbysund",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Almaty",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Damascus",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Nicosia",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Chisinau",
    "Europe/Dublin",
    "Europe/London",
    "Europe/Paris",
    "Europe/Volgograd",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Easter",
    "Pacific/Fiji",
    "Pacific/Norfolk",
];

const HOUR: i64 = 3_600;
/// 2020-01-01 and 2041-01-01.
const YEARS: (i64, i64) = (1_577_836_800, 2_240_524_800);
/// How long before and after a change is checked.
const JUDGED: i64 = 40 * HOUR;
/// How long before that counting begins, so that repeated local times were seen the first time.
const EARLIER: i64 = 4 * HOUR;

/// A moment at which the clocks of a zone change.
pub(super) struct Change {
    pub(super) zone: &'static str,
    clocks: Tz,
    pub(super) moment: i64,
}

fn offset(clocks: Tz, moment: i64) -> i64 {
    let utc = DateTime::from_timestamp(moment, 0).unwrap().naive_utc();
    clocks.offset_from_utc_datetime(&utc).fix().local_minus_utc().into()
}

/// Every change of a zone's clocks from 2020 to 2040.
pub(super) fn changes(zone: &'static str) -> Vec<Change> {
    let clocks: Tz = zone.parse().unwrap();
    let mut changes = Vec::new();
    for hour in (YEARS.0..YEARS.1).step_by(HOUR as usize) {
        if offset(clocks, hour) == offset(clocks, hour + HOUR) {
            continue;
        }
        let moment = (hour + 1..=hour + HOUR).find(|moment| offset(clocks, moment - 1) != offset(clocks, *moment)).unwrap();
        changes.push(Change { zone, clocks, moment });
    }
    changes
}

impl Change {
    /// The local time, in seconds since 1970-01-01T00:00:00 there.
    pub(super) fn reading(&self, moment: i64) -> i64 {
        moment + offset(self.clocks, moment)
    }

    /// The checked moments, from the first up to but not including the last.
    pub(super) fn checked_range(&self) -> (i64, i64) {
        (self.moment - JUDGED, self.moment + JUDGED)
    }

    /// The counted moments, with this step.
    pub(super) fn around(&self, step: i64) -> impl Iterator<Item = i64> {
        let (first, last) = self.checked_range();
        // Offsets are whole minutes nowadays.
        let first = (first - EARLIER).div_euclid(60) * 60;
        (first..last).step_by(step as usize)
    }
}
