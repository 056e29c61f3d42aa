//! Expressions in the oracle's form: lists of the values of each field, written as text and checked one
//! number at a time.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Weekday};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// A part of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    All,
    EveryNth(u32),
    One(u32),
    Range(u32, u32),
    RangeByNth(u32, u32, u32),
    LastDay,
    LastWorkday,
    Near(u32),
    Last(u32),
    Nth(u32, u32),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "*"),
            Self::EveryNth(step) => write!(f, "*/{step}"),
            Self::One(number) => write!(f, "{number}"),
            Self::Range(from, to) => write!(f, "{from}-{to}"),
            Self::RangeByNth(from, to, step) => write!(f, "{from}-{to}/{step}"),
            Self::LastDay => write!(f, "L"),
            Self::LastWorkday => write!(f, "LW"),
            Self::Near(day) => write!(f, "{day}W"),
            Self::Last(weekday) => write!(f, "{weekday}L"),
            Self::Nth(weekday, nth) => write!(f, "{weekday}#{nth}"),
        }
    }
}

impl Item {
    /// Returns true if it includes the number, in a field whose smallest value is `least`.
    fn names(&self, number: u32, least: u32) -> bool {
        match *self {
            Self::All => true,
            Self::EveryNth(step) => (number - least).is_multiple_of(step),
            Self::One(one) => number == one,
            Self::Range(from, to) => from <= number && number <= to,
            Self::RangeByNth(from, to, step) => from <= number && number <= to && (number - from).is_multiple_of(step),
            Self::LastDay | Self::LastWorkday | Self::Near(_) | Self::Last(_) | Self::Nth(..) => false,
        }
    }

    fn names_day_of_month(&self, day: NaiveDate) -> bool {
        let is_workday = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let month: Vec<NaiveDate> = day.with_day(1).unwrap().iter_days().take_while(|other| other.month() == day.month()).collect();
        match self {
            Self::LastDay => month.last() == Some(&day),
            Self::LastWorkday => month.iter().rfind(|day| is_workday(day)) == Some(&day),
            Self::Near(near) => {
                let distance = |day: &NaiveDate| day.day().abs_diff(*near);
                month.len() >= *near as usize && month.iter().filter(|day| is_workday(day)).min_by_key(|day| distance(day)) == Some(&day)
            }
            Self::All | Self::EveryNth(_) | Self::One(_) | Self::Range(..) | Self::RangeByNth(..) | Self::Last(_) | Self::Nth(..) => {
                self.names(day.day(), 1)
            }
        }
    }

    fn names_day_of_week(&self, day: NaiveDate) -> bool {
        let weekday = day.weekday().num_days_from_sunday();
        let other_months = |days: i64| (day + chrono::TimeDelta::days(days)).month() != day.month();
        match self {
            Self::Last(last) => last % 7 == weekday && other_months(7),
            Self::Nth(named, nth) => {
                named % 7 == weekday && other_months(-7 * i64::from(*nth)) && (*nth == 1 || !other_months(-7 * i64::from(nth - 1)))
            }
            Self::All
            | Self::EveryNth(_)
            | Self::One(_)
            | Self::Range(..)
            | Self::RangeByNth(..)
            | Self::LastDay
            | Self::LastWorkday
            | Self::Near(_) => self.names(weekday, 0) || (weekday == 0 && self.names(7, 0)),
        }
    }
}

/// An expression.
#[derive(Clone, Debug)]
pub(super) struct Model {
    second: Option<Vec<Item>>,
    minute: Vec<Item>,
    hour: Vec<Item>,
    day: Vec<Item>,
    month: Vec<Item>,
    weekday: Vec<Item>,
    demands_both_days: bool,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[Item]| items.iter().map(Item::to_string).collect::<Vec<_>>().join(",");
        if let Some(second) = &self.second {
            write!(f, "{} ", list(second))?;
        }
        let sign = if self.demands_both_days { "+" } else { "" };
        let Self { minute, hour, day, month, weekday, .. } = self;
        write!(f, "{} {} {} {} {sign}{}", list(minute), list(hour), list(day), list(month), list(weekday))
    }
}

impl Model {
    /// Midnight on these days.
    pub(super) fn of_days(day: Vec<Item>, weekday: Vec<Item>) -> Self {
        let zero = vec![Item::One(0)];
        Self { second: None, minute: zero.clone(), hour: zero, day, month: vec![Item::All], weekday, demands_both_days: false }
    }

    /// The seconds from one moment at which it may be due to the next.
    pub(super) fn step(&self) -> i64 {
        if self.second.is_some() { 1 } else { 60 }
    }

    /// Returns true if its hours begin with `*`, or are all hours of a day.
    pub(super) fn is_by_hours(&self) -> bool {
        let is_star = matches!(self.hour[0], Item::All | Item::EveryNth(_));
        is_star || (0..24).all(|hour| self.hour.iter().any(|item| item.names(hour, 0)))
    }

    /// Returns true if it includes a local time, in seconds since 1970.
    pub(super) fn names(&self, reading: i64) -> bool {
        let reading = DateTime::from_timestamp(reading, 0).unwrap().naive_utc();
        let zero = [Item::One(0)];
        let any = |items: &[Item], number: u32| items.iter().any(|item| item.names(number, 0));
        any(self.second.as_deref().unwrap_or(&zero), reading.second())
            && any(&self.minute, reading.minute())
            && any(&self.hour, reading.hour())
            && self.names_day(reading.date())
    }

    /// Returns true if it includes the day.
    pub(super) fn names_day(&self, day: NaiveDate) -> bool {
        let of_month = self.day.iter().any(|item| item.names_day_of_month(day));
        let of_week = self.weekday.iter().any(|item| item.names_day_of_week(day));
        let is_either = self.day != [Item::All] && self.weekday != [Item::All] && !self.demands_both_days;
        let is_named = if is_either { of_month || of_week } else { of_month && of_week };
        is_named && self.month.iter().any(|item| item.names(day.month(), 1))
    }
}

/// Draws models, the same ones each time.
pub(super) struct Draw(TestRunner);

impl Default for Draw {
    fn default() -> Self {
        Self(TestRunner::deterministic())
    }
}

impl Draw {
    pub(super) fn one(&mut self, models: impl Strategy<Value = Model>) -> Model {
        models.new_tree(&mut self.0).unwrap().current()
    }
}

fn items(least: u32, most: u32) -> BoxedStrategy<Vec<Item>> {
    let number = least..=most;
    let range = (number.clone(), number.clone()).prop_map(|(one, other)| (one.min(other), one.max(other)));
    let item = prop_oneof![
        4 => number.prop_map(Item::One),
        2 => range.clone().prop_map(|(from, to)| Item::Range(from, to)),
        1 => (range, 1..=most - least).prop_map(|((from, to), step)| Item::RangeByNth(from, to, step)),
        1 => (1..=most - least).prop_map(Item::EveryNth),
    ];
    prop_oneof![2 => Just(vec![Item::All]), 5 => vec(item, 1..=3)].boxed()
}

fn days_of_month() -> BoxedStrategy<Vec<Item>> {
    let named = prop_oneof![Just(Item::LastDay), Just(Item::LastWorkday), (1_u32..=31).prop_map(Item::Near)];
    let both = (items(1, 31), named).prop_map(|(mut items, named)| {
        items.retain(|item| *item != Item::All);
        items.push(named);
        items
    });
    prop_oneof![3 => Just(vec![Item::All]), 2 => items(1, 31), 2 => both].boxed()
}

fn days_of_week() -> BoxedStrategy<Vec<Item>> {
    let nth = prop_oneof![(0_u32..=7, 1_u32..=5).prop_map(|(day, nth)| Item::Nth(day, nth)), (0_u32..=7).prop_map(Item::Last)];
    prop_oneof![3 => Just(vec![Item::All]), 2 => items(0, 7), 2 => vec(nth, 1..=2)].boxed()
}

/// The seconds, minutes and hours of a model.
type Times = (Option<Vec<Item>>, Vec<Item>, Vec<Item>);

fn of_days(hours: BoxedStrategy<Times>) -> BoxedStrategy<Model> {
    let months = prop_oneof![3 => Just(vec![Item::All]), 1 => items(1, 12)];
    let drawn = (hours, days_of_month(), months, days_of_week(), any::<bool>());
    drawn
        .prop_map(|((second, minute, hour), day, month, weekday, demands_both_days)| {
            let begins_with_step = |items: &[Item]| matches!(items[0], Item::EveryNth(_));
            // An expression that would be rejected as ambiguous says which meaning it has.
            let is_unclear = day != [Item::All] && weekday != [Item::All] && (begins_with_step(&day) || begins_with_step(&weekday));
            Model { second, minute, hour, day, month, weekday, demands_both_days: demands_both_days || is_unclear }
        })
        .boxed()
}

/// Any expression for any days.
pub(super) fn models() -> BoxedStrategy<Model> {
    of_days((proptest::option::of(items(0, 59)), items(0, 59), items(0, 23)).boxed())
}

/// Midnight on any days.
pub(super) fn by_days() -> BoxedStrategy<Model> {
    of_days(Just((None, vec![Item::One(0)], vec![Item::One(0)])).boxed())
}

/// Any times on most days, with the hours of clock changes more often than others.
pub(super) fn by_minutes() -> BoxedStrategy<Model> {
    let hours = prop_oneof![items(0, 23), items(0, 4), vec((0_u32..=4).prop_map(Item::One), 1..=2), Just(vec![Item::Range(0, 23)])];
    let times = (items(0, 59), hours).prop_map(|(minute, hour)| (None, minute, hour));
    prop_oneof![3 => every_day(times.clone().boxed()), 1 => of_days(times.boxed())].boxed()
}

/// Any seconds of every day.
pub(super) fn by_seconds() -> BoxedStrategy<Model> {
    let few = || vec((0_u32..=59).prop_map(Item::One), 1..=2);
    every_day((few(), few(), items(0, 4)).prop_map(|(second, minute, hour)| (Some(second), minute, hour)).boxed())
}

fn every_day(times: BoxedStrategy<Times>) -> BoxedStrategy<Model> {
    times.prop_map(|(second, minute, hour)| Model { second, minute, hour, ..Model::of_days(vec![Item::All], vec![Item::All]) }).boxed()
}
