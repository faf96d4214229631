//! The functions that a module may import: all of WASI preview 1, by name and type.

/// The name of the module that they are imported from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// The type of a parameter or result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
}

macro_rules! calls {
    ($($variant:ident $name:literal ($($param:ident)*) $(-> $result:ident)?;)*) => {
        /// A function of WASI preview 1.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Call {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Call {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name under which it is imported.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The types of its parameters.
            #[must_use]
            pub const fn params(self) -> &'static [ValueType] {
                match self { $(Self::$variant => &[$(ValueType::$param),*]),* }
            }

            /// The types of its results: an error number, or nothing where it never returns.
            #[must_use]
            pub const fn results(self) -> &'static [ValueType] {
                match self { $(Self::$variant => &[$(ValueType::$result)?]),* }
            }
        }
    };
}

calls! {
    ArgsGet "args_get" (I32 I32) -> I32;
    ArgsSizesGet "args_sizes_get" (I32 I32) -> I32;
    EnvironGet "environ_get" (I32 I32) -> I32;
    EnvironSizesGet "environ_sizes_get" (I32 I32) -> I32;
    ClockResGet "clock_res_get" (I32 I32) -> I32;
    ClockTimeGet "clock_time_get" (I32 I64 I32) -> I32;
    FdAdvise "fd_advise" (I32 I64 I64 I32) -> I32;
    FdAllocate "fd_allocate" (I32 I64 I64) -> I32;
    FdClose "fd_close" (I32) -> I32;
    FdDatasync "fd_datasync" (I32) -> I32;
    FdFdstatGet "fd_fdstat_get" (I32 I32) -> I32;
    FdFdstatSetFlags "fd_fdstat_set_flags" (I32 I32) -> I32;
    FdFdstatSetRights "fd_fdstat_set_rights" (I32 I64 I64) -> I32;
    FdFilestatGet "fd_filestat_get" (I32 I32) -> I32;
    FdFilestatSetSize "fd_filestat_set_size" (I32 I64) -> I32;
    FdFilestatSetTimes "fd_filestat_set_times" (I32 I64 I64 I32) -> I32;
    FdPread "fd_pread" (I32 I32 I32 I64 I32) -> I32;
    FdPrestatGet "fd_prestat_get" (I32 I32) -> I32;
    FdPrestatDirName "fd_prestat_dir_name" (I32 I32 I32) -> I32;
    FdPwrite "fd_pwrite" (I32 I32 I32 I64 I32) -> I32;
    FdRead "fd_read" (I32 I32 I32 I32) -> I32;
    FdReaddir "fd_readdir" (I32 I32 I32 I64 I32) -> I32;
    FdRenumber "fd_renumber" (I32 I32) -> I32;
    FdSeek "fd_seek" (I32 I64 I32 I32) -> I32;
    FdSync "fd_sync" (I32) -> I32;
    FdTell "fd_tell" (I32 I32) -> I32;
    FdWrite "fd_write" (I32 I32 I32 I32) -> I32;
    PathCreateDirectory "path_create_directory" (I32 I32 I32) -> I32;
    PathFilestatGet "path_filestat_get" (I32 I32 I32 I32 I32) -> I32;
    PathFilestatSetTimes "path_filestat_set_times" (I32 I32 I32 I32 I64 I64 I32) -> I32;
    PathLink "path_link" (I32 I32 I32 I32 I32 I32 I32) -> I32;
    PathOpen "path_open" (I32 I32 I32 I32 I32 I64 I64 I32 I32) -> I32;
    PathReadlink "path_readlink" (I32 I32 I32 I32 I32 I32) -> I32;
    PathRemoveDirectory "path_remove_directory" (I32 I32 I32) -> I32;
    PathRename "path_rename" (I32 I32 I32 I32 I32 I32) -> I32;
    PathSymlink "path_symlink" (I32 I32 I32 I32 I32) -> I32;
    PathUnlinkFile "path_unlink_file" (I32 I32 I32) -> I32;
    PollOneoff "poll_oneoff" (I32 I32 I32 I32) -> I32;
    ProcExit "proc_exit" (I32);
    ProcRaise "proc_raise" (I32) -> I32;
    RandomGet "random_get" (I32 I32) -> I32;
    SchedYield "sched_yield" () -> I32;
    SockAccept "sock_accept" (I32 I32 I32) -> I32;
    SockRecv "sock_recv" (I32 I32 I32 I32 I32 I32) -> I32;
    SockSend "sock_send" (I32 I32 I32 I32 I32) -> I32;
    SockShutdown "sock_shutdown" (I32 I32) -> I32;
}

impl Call {
    /// The function of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|call| call.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_found_by_its_name_and_at_most_one_word_comes_back() {
        for call in Call::ALL {
            assert_eq!(Call::named(call.name()), Some(*call));
            assert!(call.results().len() <= 1);
        }
        assert_eq!(Call::ALL.len(), 46);
        assert_eq!(Call::named("fd_fly"), None);
    }
}
