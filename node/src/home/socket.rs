//! The socket of the API.
//!
//! A socket address holds a path of at most 107 bytes. A longer one is reached through the directory's file
//! descriptor, as `/proc/self/fd/<n>/weft.sock`.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use super::{Home, HomeLock};

/// `sun_path` of `struct sockaddr_un` on Linux, less its final zero (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Home {
    /// Listens on the socket, for this user only. One that a killed node left behind is removed: the lock proves
    /// that nobody listens on it.
    ///
    /// # Errors
    ///
    /// If something else is in its place, or the operating system refuses.
    pub fn bind_socket(&self, _lock: &HomeLock) -> io::Result<UnixListener> {
        let path = self.socket();
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "it is there and not a socket",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = reach(&path, |path| UnixListener::bind(path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Connects to the node that listens on the socket.
    ///
    /// # Errors
    ///
    /// `NotFound` or `ConnectionRefused` if no node runs.
    pub fn connect_socket(&self) -> io::Result<UnixStream> {
        connect(&self.socket())
    }
}

/// Connects to a socket, however long its path is.
///
/// # Errors
///
/// As `connect(2)`.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = reach(path, |path| UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn reach<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return act(path);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return act(path) };
    let dir = File::open(dir)?;
    let short: PathBuf = ["/proc/self/fd", &dir.as_raw_fd().to_string()].iter().collect();
    act(&short.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_works_below_a_path_that_no_socket_address_can_hold() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(&dir.path().join("d".repeat(150))).unwrap();
        let lock = home.lock().unwrap();
        assert_eq!(home.connect_socket().unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = home.bind_socket(&lock).unwrap();
        home.connect_socket().unwrap();
        drop(listener);
        assert_eq!(home.connect_socket().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        home.bind_socket(&lock).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::create(dir.path()).unwrap();
        fs::write(home.socket(), "mine").unwrap();
        assert!(home.bind_socket(&home.lock().unwrap()).is_err());
        assert_eq!(fs::read(home.socket()).unwrap(), b"mine");
    }
}
