//! serde for states and kinds: as the names that the API uses. For `#[serde(with = "names")]`.

use protocol::wire::{
    advert::{Arch, Isolation, Os},
    availability::Advice,
    enroll::{BlockReason, Role},
    view::{Admission, Condition, JobState, Liveness, TaskState},
};
use serde::{Deserialize as _, Deserializer, Serializer};

/// One of a fixed set of values, each with a name.
pub trait Named: Copy + 'static {
    /// What they are, for people.
    const KIND: &'static str;
    /// All of them.
    const ALL: &'static [Self];

    /// The name in the API.
    fn api_name(self) -> &'static str;

    /// The value of that name.
    #[must_use]
    fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.api_name() == name)
    }
}

impl Named for JobState {
    const KIND: &'static str = "state of a job";
    const ALL: &'static [Self] = &[
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::PartiallyCompleted,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for TaskState {
    const KIND: &'static str = "state of a task";
    const ALL: &'static [Self] = &Self::ALL;

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for Admission {
    const KIND: &'static str = "admission";
    const ALL: &'static [Self] =
        &[Self::Pending, Self::Approved, Self::Suspended, Self::Blacklisted];

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for Liveness {
    const KIND: &'static str = "liveness";
    const ALL: &'static [Self] = &[Self::Healthy, Self::Suspect, Self::Offline];

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for Condition {
    const KIND: &'static str = "condition";
    const ALL: &'static [Self] = &[Self::Online, Self::Degraded, Self::Syncing, Self::Maintenance];

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for Advice {
    const KIND: &'static str = "advice";
    const ALL: &'static [Self] = &[Self::Reboot, Self::Decommission];

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for Role {
    const KIND: &'static str = "role";
    const ALL: &'static [Self] = &Self::ALL;

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for BlockReason {
    const KIND: &'static str = "reason for blocking";
    const ALL: &'static [Self] = &Self::ALL;

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for Isolation {
    const KIND: &'static str = "grade of isolation";
    const ALL: &'static [Self] = &[Self::A, Self::B, Self::C];

    fn api_name(self) -> &'static str {
        self.name()
    }
}

impl Named for Os {
    const KIND: &'static str = "operating system";
    const ALL: &'static [Self] = &[Self::Linux, Self::MacOs, Self::Windows, Self::Other];

    fn api_name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::MacOs => "macos",
            Self::Windows => "windows",
            Self::Other => "other",
        }
    }
}

impl Named for Arch {
    const KIND: &'static str = "instruction set";
    const ALL: &'static [Self] = &[Self::X86_64, Self::Aarch64, Self::Other];

    fn api_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Other => "other",
        }
    }
}

fn read<T: Named, E: serde::de::Error>(name: &str) -> Result<T, E> {
    T::by_name(name).ok_or_else(|| {
        let all: Vec<_> = T::ALL.iter().map(|value| value.api_name()).collect();
        E::custom(format_args!("`{name}` is no {}; one of {}", T::KIND, all.join(", ")))
    })
}

/// Writes the name of a value.
///
/// # Errors
///
/// Only those of the serializer.
pub fn serialize<T: Named, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.api_name())
}

/// Reads a value from its name.
///
/// # Errors
///
/// If there is none of that name.
pub fn deserialize<'de, T: Named, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    read(&String::deserialize(deserializer)?)
}

/// The same, for values that may be absent: `null`.
pub mod option {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Named, read};

    /// Writes the name of a value, or `null`.
    ///
    /// # Errors
    ///
    /// Only those of the serializer.
    pub fn serialize<T: Named, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_str(value.api_name()),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a value from its name, or from `null`.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn deserialize<'de, T: Named, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|name| read(&name)).transpose()
    }
}

/// The same, for lists.
pub mod list {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Named, read};

    /// Writes the names of values.
    ///
    /// # Errors
    ///
    /// Only those of the serializer.
    pub fn serialize<T: Named, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| value.api_name()))
    }

    /// Reads values from their names.
    ///
    /// # Errors
    ///
    /// If there is none of one of the names.
    pub fn deserialize<'de, T: Named, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        Vec::<String>::deserialize(deserializer)?.iter().map(|name| read(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_all_names_read_back<T: Named + PartialEq + std::fmt::Debug>() {
        for value in T::ALL {
            assert_eq!(T::by_name(value.api_name()), Some(*value));
        }
        assert_eq!(T::by_name("no such name"), None);
    }

    #[test]
    fn every_name_reads_back() {
        assert_all_names_read_back::<JobState>();
        assert_all_names_read_back::<TaskState>();
        assert_all_names_read_back::<Admission>();
        assert_all_names_read_back::<Liveness>();
        assert_all_names_read_back::<Condition>();
        assert_all_names_read_back::<Advice>();
        assert_all_names_read_back::<Role>();
        assert_all_names_read_back::<BlockReason>();
        assert_all_names_read_back::<Isolation>();
        assert_all_names_read_back::<Os>();
        assert_all_names_read_back::<Arch>();
    }
}
