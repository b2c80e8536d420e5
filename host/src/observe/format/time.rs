//! Time stamps of log lines: `%START_TIME(format)%` and its relatives.
//!
//! Owns the compiled form of a time format and its rendering: `strftime` in the C locale, the
//! `%E` extensions of Abseil that Envoy inherits, and Envoy's own `%f` and `%1f` to `%9f`
//! (fractions of a second, nine digits by default). What is none of these is copied, as in Envoy.
//!
//! Does not own: which moment is shown.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::{Duration, SystemTime};

use super::digits::{push_padded, push_two, push_u64};

/// The time zone to show a moment in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::observe) enum Zone {
    Utc,
    /// The zone of the machine.
    Local,
}

/// A compiled time format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::observe) struct TimeFormat(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// `2026-11-23T00:07:10.263Z`.
    Default,
    /// A format of the configuration's own.
    Custom { zone: Zone, parts: Box<[Part]> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Number(Number, Pad),
    Word(Word),
    /// Digits of the fraction of a second, one to nine.
    Fraction(u8),
    /// The fraction with its point and without zeros behind it, nothing when it is zero.
    ShortFraction,
    UnixSeconds,
    /// How far from Greenwich.
    Offset(OffsetForm),
    Abbreviation,
}

/// How the distance from Greenwich is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OffsetForm {
    /// `+0130`.
    Plain,
    /// `+01:30`.
    Minutes,
    /// `+01:30:00`.
    Seconds,
}

/// A field that is a number, named as `strftime` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Year,
    Century,
    YearOfCentury,
    IsoYear,
    IsoYearOfCentury,
    Month,
    Day,
    DayOfYear,
    Hour,
    Hour12,
    Minute,
    Second,
    Weekday,
    IsoWeekday,
    SundayWeek,
    MondayWeek,
    IsoWeek,
}

/// Least digits and what fills them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pad(usize, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Weekday,
    ShortWeekday,
    Month,
    ShortMonth,
    HalfDay,
    LowerHalfDay,
}

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A time format has a line break, which would break the log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::observe) struct LineBreak;

impl TimeFormat {
    /// Envoy's default, in UTC.
    pub(in crate::observe) const DEFAULT: Self = Self(Form::Default);

    /// Compiles `format`; nothing stands for Envoy's default.
    pub(in crate::observe) fn new(format: &str, zone: Zone) -> Result<Self, LineBreak> {
        if format.contains('\n') || has_newline_conversion(format) {
            return Err(LineBreak);
        }
        let format = match (format, zone) {
            ("", Zone::Utc) => return Ok(Self::DEFAULT),
            ("", Zone::Local) => "%Y-%m-%dT%H:%M:%S.%3f%z",
            (format, _) => format,
        };
        let mut parts = Parts::default();
        parts.compile(format);
        Ok(Self(Form::Custom {
            zone,
            parts: parts.list.into(),
        }))
    }

    /// Whether the text does not depend on the moment.
    pub(super) fn is_constant(&self) -> bool {
        match &self.0 {
            Form::Default => false,
            Form::Custom { parts, .. } => parts.iter().all(|part| matches!(part, Part::Literal(_))),
        }
    }

    /// Appends `moment`.
    pub(in crate::observe) fn write(&self, moment: SystemTime, out: &mut Vec<u8>) {
        match &self.0 {
            Form::Default => write_default(moment, out),
            Form::Custom { zone, parts } => {
                let moment = Moment::new(moment, *zone);
                for part in parts {
                    part.write(&moment, out);
                }
            }
        }
    }
}

/// How many bytes of the default format do not change within a second: up to the point.
const TO_THE_SECOND: usize = "2026-11-23T00:07:10.".len();

thread_local! {
    /// The second that was written last, and its text.
    static LAST_SECOND: Cell<(i64, [u8; TO_THE_SECOND])> =
        const { Cell::new((i64::MIN, [0; TO_THE_SECOND])) };
}

/// Appends a moment in the default format. Most moments lie in the second of the one before.
fn write_default(moment: SystemTime, out: &mut Vec<u8>) {
    let (unix, nanos) = unix_time(moment);
    let (last, text) = LAST_SECOND.get();
    if last == unix {
        out.extend_from_slice(&text);
    } else {
        let start = out.len();
        Moment::new(moment, Zone::Utc).write_to_the_second(out);
        if let Some(text) = out.get(start..).and_then(|text| text.try_into().ok()) {
            LAST_SECOND.set((unix, text));
        }
    }
    push_padded(out, nanos / 1_000_000, 3, b'0');
    out.push(b'Z');
}

fn has_newline_conversion(format: &str) -> bool {
    let mut rest = format;
    while let Some((_, tail)) = rest.split_once('%') {
        if tail.starts_with('n') {
            return true;
        }
        rest = tail.strip_prefix('%').unwrap_or(tail);
    }
    false
}

/// The parts of a format while it is being compiled.
#[derive(Default)]
struct Parts {
    list: Vec<Part>,
    literal: String,
}

impl Parts {
    fn compile(&mut self, format: &str) {
        let mut rest = format;
        while let Some((before, tail)) = rest.split_once('%') {
            self.literal.push_str(before);
            rest = self.conversion(tail);
        }
        self.literal.push_str(rest);
        self.end_literal();
    }

    /// Compiles the conversion that `tail` starts with, behind its `%`; gives what follows it.
    fn conversion<'a>(&mut self, tail: &'a str) -> &'a str {
        if let Some((digits, rest)) = fraction(tail) {
            self.push(Part::Fraction(digits));
            return rest;
        }
        if let Some(extension) = tail.strip_prefix('E')
            && let Some(rest) = self.extension(extension)
        {
            return rest;
        }
        if let Some(rest) = tail.strip_prefix(":z") {
            self.push(Part::Offset(OffsetForm::Minutes));
            return rest;
        }
        // Envoy takes the fraction out of "%%3f" before anything else reads the format.
        if let Some(second) = tail.strip_prefix('%') {
            self.literal.push('%');
            return if fraction(second).is_some() {
                tail
            } else {
                second
            };
        }
        let (flag, plain) = match tail.chars().next() {
            Some(flag @ ('-' | '_' | '0' | 'O')) => (flag, tail.get(1..).unwrap_or_default()),
            _ => ('O', tail),
        };
        let mut characters = plain.chars();
        match characters.next() {
            Some(letter) if self.letter(letter, flag) => characters.as_str(),
            _ => {
                self.literal.push('%');
                tail
            }
        }
    }

    /// What Abseil adds, behind `%E`.
    fn extension<'a>(&mut self, tail: &'a str) -> Option<&'a str> {
        let second = Part::Number(Number::Second, Pad(2, b'0'));
        if let Some(rest) = tail.strip_prefix("*S") {
            self.push(second);
            self.push(Part::ShortFraction);
            return Some(rest);
        }
        if let Some(rest) = tail.strip_prefix("4Y") {
            self.push(Part::Number(Number::Year, Pad(4, b'0')));
            return Some(rest);
        }
        if let Some(rest) = tail.strip_prefix('T') {
            self.literal.push('T');
            return Some(rest);
        }
        for (form, offset) in [("z", OffsetForm::Minutes), ("*z", OffsetForm::Seconds)] {
            if let Some(rest) = tail.strip_prefix(form) {
                self.push(Part::Offset(offset));
                return Some(rest);
            }
        }
        let mut characters = tail.chars();
        let digits = u8::try_from(characters.next()?.to_digit(10)?).ok()?;
        if characters.next()? != 'S' {
            return None;
        }
        self.push(second);
        if digits > 0 {
            self.literal.push('.');
            self.push(Part::Fraction(digits));
        }
        Some(characters.as_str())
    }

    /// Compiles one letter of `strftime`; false where it has no meaning.
    fn letter(&mut self, letter: char, flag: char) -> bool {
        let pad = |width, fill| match flag {
            '-' => Pad(1, b'0'),
            '_' => Pad(width, b' '),
            '0' => Pad(width, b'0'),
            _ => Pad(width, fill),
        };
        let part = match letter {
            'Y' => Part::Number(Number::Year, Pad(1, b'0')),
            'C' => Part::Number(Number::Century, pad(2, b'0')),
            'y' => Part::Number(Number::YearOfCentury, pad(2, b'0')),
            'G' => Part::Number(Number::IsoYear, Pad(1, b'0')),
            'g' => Part::Number(Number::IsoYearOfCentury, pad(2, b'0')),
            'm' => Part::Number(Number::Month, pad(2, b'0')),
            'd' => Part::Number(Number::Day, pad(2, b'0')),
            'e' => Part::Number(Number::Day, pad(2, b' ')),
            'j' => Part::Number(Number::DayOfYear, pad(3, b'0')),
            'H' => Part::Number(Number::Hour, pad(2, b'0')),
            'k' => Part::Number(Number::Hour, pad(2, b' ')),
            'I' => Part::Number(Number::Hour12, pad(2, b'0')),
            'l' => Part::Number(Number::Hour12, pad(2, b' ')),
            'M' => Part::Number(Number::Minute, pad(2, b'0')),
            'S' => Part::Number(Number::Second, pad(2, b'0')),
            'w' => Part::Number(Number::Weekday, Pad(1, b'0')),
            'u' => Part::Number(Number::IsoWeekday, Pad(1, b'0')),
            'U' => Part::Number(Number::SundayWeek, pad(2, b'0')),
            'W' => Part::Number(Number::MondayWeek, pad(2, b'0')),
            'V' => Part::Number(Number::IsoWeek, pad(2, b'0')),
            'a' => Part::Word(Word::ShortWeekday),
            'A' => Part::Word(Word::Weekday),
            'b' | 'h' => Part::Word(Word::ShortMonth),
            'B' => Part::Word(Word::Month),
            'p' => Part::Word(Word::HalfDay),
            'P' => Part::Word(Word::LowerHalfDay),
            's' => Part::UnixSeconds,
            'z' => Part::Offset(OffsetForm::Plain),
            'Z' => Part::Abbreviation,
            't' => Part::Literal("\t".into()),
            _ => return self.group(letter),
        };
        self.push(part);
        true
    }

    /// Compiles a letter that stands for several conversions; false where it does not.
    fn group(&mut self, letter: char) -> bool {
        let group = match letter {
            'c' => "%a %b %e %H:%M:%S %Y",
            'D' | 'x' => "%m/%d/%y",
            'F' => "%Y-%m-%d",
            'r' => "%I:%M:%S %p",
            'R' => "%H:%M",
            'T' | 'X' => "%H:%M:%S",
            _ => return false,
        };
        self.compile(group);
        true
    }

    fn push(&mut self, part: Part) {
        self.end_literal();
        self.list.push(part);
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.list
                .push(Part::Literal(std::mem::take(&mut self.literal).into()));
        }
    }
}

/// Reads `f` or `1f` to `9f`: how many digits, and what follows.
fn fraction(tail: &str) -> Option<(u8, &str)> {
    if let Some(rest) = tail.strip_prefix('f') {
        return Some((9, rest));
    }
    let mut characters = tail.chars();
    let digits = u8::try_from(characters.next()?.to_digit(10)?).ok()?;
    let rest = characters.as_str().strip_prefix('f')?;
    (digits > 0).then_some((digits, rest))
}

impl Part {
    fn write(&self, moment: &Moment, out: &mut Vec<u8>) {
        match self {
            Self::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Self::Number(number, Pad(width, fill)) => {
                push_padded(out, moment.number(*number), *width, *fill);
            }
            Self::Word(word) => out.extend_from_slice(moment.word(*word)),
            Self::Fraction(digits) => {
                let shown = moment.nanos / 10_u32.pow(9_u32.saturating_sub(u32::from(*digits)));
                push_padded(out, shown, usize::from(*digits), b'0');
            }
            Self::ShortFraction if moment.nanos == 0 => {}
            Self::ShortFraction => {
                out.push(b'.');
                push_padded(out, moment.nanos, 9, b'0');
                while out.pop_if(|last| *last == b'0').is_some() {}
            }
            Self::UnixSeconds => {
                if moment.unix < 0 {
                    out.push(b'-');
                }
                push_u64(out, moment.unix.unsigned_abs());
            }
            Self::Offset(form) => {
                out.push(if moment.offset < 0 { b'-' } else { b'+' });
                let seconds = moment.offset.unsigned_abs();
                push_two(out, seconds / 3600);
                if *form != OffsetForm::Plain {
                    out.push(b':');
                }
                push_two(out, seconds / 60 % 60);
                if *form == OffsetForm::Seconds {
                    out.push(b':');
                    push_two(out, seconds % 60);
                }
            }
            Self::Abbreviation => out.extend_from_slice(moment.abbreviation.as_bytes()),
        }
    }
}

/// A moment split into the fields of the calendar.
struct Moment {
    unix: i64,
    nanos: u32,
    /// Seconds east of Greenwich.
    offset: i32,
    abbreviation: Cow<'static, str>,
    year: u32,
    month: u32,
    day: u32,
    day_of_year: u32,
    weekday: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

const DAY: i64 = 86_400;

impl Moment {
    fn new(time: SystemTime, zone: Zone) -> Self {
        let (unix, nanos) = unix_time(time);
        let (offset, abbreviation) = match zone {
            Zone::Utc => (0, Cow::Borrowed("UTC")),
            Zone::Local => local_offset(unix),
        };
        let local = unix + i64::from(offset);
        let days = local.div_euclid(DAY);
        let seconds = small(local.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        Self {
            unix,
            nanos,
            offset,
            abbreviation,
            year: small(year),
            month,
            day,
            day_of_year: small(days - first_day(year)) + 1,
            weekday: small((days + 4).rem_euclid(7)),
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    /// The default format without its milliseconds.
    fn write_to_the_second(&self, out: &mut Vec<u8>) {
        push_padded(out, self.year, 4, b'0');
        for (before, field) in [
            (b'-', self.month),
            (b'-', self.day),
            (b'T', self.hour),
            (b':', self.minute),
            (b':', self.second),
        ] {
            out.push(before);
            push_two(out, field);
        }
        out.push(b'.');
    }

    fn number(&self, number: Number) -> u32 {
        match number {
            Number::Year => self.year,
            Number::Century => self.year / 100,
            Number::YearOfCentury => self.year % 100,
            Number::IsoYear => self.iso_week().0,
            Number::IsoYearOfCentury => self.iso_week().0 % 100,
            Number::Month => self.month,
            Number::Day => self.day,
            Number::DayOfYear => self.day_of_year,
            Number::Hour => self.hour,
            Number::Hour12 => (self.hour + 11) % 12 + 1,
            Number::Minute => self.minute,
            Number::Second => self.second,
            Number::Weekday => self.weekday,
            Number::IsoWeekday => (self.weekday + 6) % 7 + 1,
            Number::SundayWeek => (self.day_of_year + 6 - self.weekday) / 7,
            Number::MondayWeek => (self.day_of_year + 6 - (self.weekday + 6) % 7) / 7,
            Number::IsoWeek => self.iso_week().1,
        }
    }

    /// Year and number of the week of ISO 8601, which belongs to the year that has its Thursday.
    fn iso_week(&self) -> (u32, u32) {
        let monday_based = (self.weekday + 6) % 7;
        let week = (self.day_of_year + 9 - monday_based) / 7;
        let year = i64::from(self.year);
        if week == 0 {
            return (self.year.saturating_sub(1), weeks_of(year - 1));
        }
        if week > weeks_of(year) {
            (self.year + 1, 1)
        } else {
            (self.year, week)
        }
    }

    fn word(&self, word: Word) -> &'static [u8] {
        let at = |names: &[&'static str], index: u32| {
            usize::try_from(index)
                .ok()
                .and_then(|index| names.get(index))
                .copied()
                .unwrap_or("")
        };
        let name = match word {
            Word::Weekday | Word::ShortWeekday => at(&WEEKDAYS, self.weekday),
            Word::Month | Word::ShortMonth => at(&MONTHS, self.month - 1),
            Word::HalfDay => at(&["AM", "PM"], self.hour / 12),
            Word::LowerHalfDay => at(&["am", "pm"], self.hour / 12),
        };
        match word {
            Word::ShortWeekday | Word::ShortMonth => name.as_bytes().get(..3).unwrap_or_default(),
            _ => name.as_bytes(),
        }
    }
}

/// Weeks of a year by ISO 8601: 53 where it starts or ends on a Thursday.
fn weeks_of(year: i64) -> u32 {
    let starts = (first_day(year) + 4).rem_euclid(7);
    let ends = (first_day(year + 1) + 3).rem_euclid(7);
    if starts == 4 || ends == 4 { 53 } else { 52 }
}

fn unix_time(time: SystemTime) -> (i64, u32) {
    let signed = |since: Duration| i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        // As exact as Envoy's clock, whose nanoseconds are those of whole microseconds.
        Ok(since) => (signed(since), since.subsec_micros() * 1000),
        Err(before) => match (signed(before.duration()), before.duration().subsec_micros()) {
            (seconds, 0) => (-seconds, 0),
            (seconds, micros) => (-seconds - 1, 1_000_000_000 - micros * 1000),
        },
    }
}

fn local_offset(unix: i64) -> (i32, Cow<'static, str>) {
    let Ok(moment) = jiff::Timestamp::from_second(unix) else {
        return (0, Cow::Borrowed("UTC"));
    };
    let zone = jiff::tz::TimeZone::system();
    let info = zone.to_offset_info(moment);
    (
        info.offset().seconds(),
        Cow::Owned(info.abbreviation().to_owned()),
    )
}

/// Days from 1970-01-01 to the first day of `year`.
const fn first_day(year: i64) -> i64 {
    let before = year - 1;
    365 * (year - 1970) + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400)
        - 477
}

/// Year, month and day of the day that is `days` after 1970-01-01 (proleptic Gregorian calendar).
fn civil(days: i64) -> (i64, u32, u32) {
    // Years start in March here, so that the leap day is the last of them.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = small(day_of_year - (153 * month + 2) / 5 + 1);
    let january_based = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(january_based <= 2);
    (year, small(january_based), day)
}

/// A calendar field, which is never negative and always fits for the years that a clock shows.
fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(unix: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(unix, nanos)
    }

    fn shown(format: &str, moment: SystemTime) -> String {
        let mut out = Vec::new();
        TimeFormat::new(format, Zone::Utc)
            .unwrap()
            .write(moment, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What a real Envoy printed for a request of that moment.
    #[test]
    fn conversions_are_those_of_envoy() {
        let moment = at(1_795_491_711, 76_067_000);
        for (format, text) in [
            ("", "2026-11-24T03:41:51.076Z"),
            ("%Y/%m/%d %H:%M:%S", "2026/11/24 03:41:51"),
            ("%s.%3f", "1795491711.076"),
            ("%f", "076067000"),
            (
                "%1f|%2f|%3f|%4f|%5f|%6f|%7f|%8f|%9f",
                "0|07|076|0760|07606|076067|0760670|07606700|076067000",
            ),
            ("%E3S|%E*S|%ET|%Ez|%E4Y", "51.076|51.076067|T|+00:00|2026"),
            ("%E*z|%z|%:z", "+00:00:00|+0000|+00:00"),
            (
                "%a|%A|%b|%B|%c|%C|%d|%D|%e|%F|%g|%G|%h|%H|%I|%j|%k|%l|%m|%M",
                "Tue|Tuesday|Nov|November|Tue Nov 24 03:41:51 2026|20|24|11/24/26|24|2026-11-24|26\
                 |2026|Nov|03|03|328| 3| 3|11|41",
            ),
            (
                "%p|%P|%r|%R|%S|%T|%u|%U|%V|%w|%W|%x|%X|%y|%Y|%%|%z|%Z",
                "AM|am|03:41:51 AM|03:41|51|03:41:51|2|47|48|2|47|11/24/26|03:41:51|26|2026|%\
                 |+0000|UTC",
            ),
            (
                "%q|%Oe|%L|%J|%v|%N|%i|%o|%K|%Q|%+|%:z|%0e|%-d|%E|%",
                "%q|24|%L|%J|%v|%N|%i|%o|%K|%Q|%+|+00:00|24|24|%E|%",
            ),
            ("a%t b", "a\t b"),
            ("%E6n %E0S %E9S", "%E6n 51 51.076067000"),
            ("%%3f", "%076"),
            ("plain", "plain"),
        ] {
            assert_eq!(shown(format, moment), text, "{format}");
        }
    }

    #[test]
    fn weeks_at_the_edges_of_years() {
        for (days, text) in [
            (16_801, "2016-01-01 2015-W53-5 00 00 001"),
            (17_166, "2016-12-31 2016-W52-6 52 52 366"),
            (18_262, "2020-01-01 2020-W01-3 00 00 001"),
            (20_088, "2024-12-31 2025-W01-2 52 53 366"),
        ] {
            let moment = at(days * 86_400, 0);
            assert_eq!(shown("%F %G-W%V-%u %U %W %j", moment), text);
        }
    }

    #[test]
    fn the_default_is_right_within_a_second_and_across() {
        for (unix, nanos, text) in [
            (1_795_491_711, 0, "2026-11-24T03:41:51.000Z"),
            (1_795_491_711, 999_999_999, "2026-11-24T03:41:51.999Z"),
            (1_795_491_712, 1_000_000, "2026-11-24T03:41:52.001Z"),
            (1_795_491_711, 5_000_000, "2026-11-24T03:41:51.005Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000Z"),
        ] {
            assert_eq!(shown("", at(unix, nanos)), text);
        }
    }

    #[test]
    fn moments_before_the_epoch_and_noon() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1);
        assert_eq!(shown("", before), "1969-12-31T23:59:59.999Z");
        assert_eq!(shown("%s", before), "-1");
        assert_eq!(shown("%I %p", at(12 * 3600, 0)), "12 PM");
        assert_eq!(shown("%I %P", at(0, 0)), "12 am");
        assert_eq!(shown("%E*S", at(5, 0)), "05");
    }

    #[test]
    fn line_breaks_are_refused_and_constants_known() {
        for format in ["a\nb", "%Y%n", "%%%n"] {
            assert_eq!(
                TimeFormat::new(format, Zone::Utc),
                Err(LineBreak),
                "{format}"
            );
        }
        assert!(TimeFormat::new("%%n", Zone::Utc).unwrap().is_constant());
        assert!(!TimeFormat::new("%Y", Zone::Utc).unwrap().is_constant());
    }

    #[test]
    fn local_time_has_an_offset() {
        let moment = at(1_795_491_711, 0);
        let mut out = Vec::new();
        TimeFormat::new("%s %:z", Zone::Local)
            .unwrap()
            .write(moment, &mut out);
        let text = String::from_utf8(out).unwrap();
        let offset = jiff::tz::TimeZone::system()
            .to_offset(jiff::Timestamp::from_second(1_795_491_711).unwrap());
        let (hours, minutes) = (offset.seconds() / 3600, offset.seconds().abs() / 60 % 60);
        assert_eq!(text, format!("1795491711 {hours:+03}:{minutes:02}"));
    }

    proptest! {
        #[test]
        fn no_format_panics(format: String, seconds in 0_u64..1 << 40, nanos in 0_u32..1_000_000_000) {
            if let Ok(compiled) = TimeFormat::new(&format, Zone::Utc) {
                compiled.write(at(seconds, nanos), &mut Vec::new());
            }
        }

        #[test]
        fn dates_agree_with_another_calendar(seconds in 0_u64..253_402_300_800) {
            let other = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
            let format = "%Y-%m-%d %H:%M:%S %j %u %G-%V %U %W";
            prop_assert_eq!(shown(format, at(seconds, 0)), other.strftime(format).to_string());
        }
    }
}
