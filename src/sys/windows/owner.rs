//! Whose a file or directory is, and who else may change it.

use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, GENERIC_ALL, GENERIC_WRITE, LocalFree};
use windows_sys::Win32::Security::Authorization::{GetNamedSecurityInfoW, SE_FILE_OBJECT};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, EqualSid, GetAce,
    GetSidSubAuthority, GetSidSubAuthorityCount, GetTokenInformation, IsWellKnownSid,
    OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, TOKEN_QUERY, TOKEN_USER, TokenUser,
    WinBuiltinAdministratorsSid, WinCreatorOwnerSid, WinLocalSystemSid,
};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_APPEND_DATA, FILE_DELETE_CHILD, FILE_WRITE_DATA, WRITE_DAC, WRITE_OWNER,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// The kinds of entries in an access list: `ACCESS_ALLOWED_ACE_TYPE` and `ACCESS_DENIED_ACE_TYPE`. Others are
/// rare in file systems.
const ALLOWED: u8 = 0;
const DENIED: u8 = 1;

/// What changes a directory, or lets somebody change it.
const CHANGES: u32 = FILE_WRITE_DATA
    | FILE_APPEND_DATA
    | FILE_DELETE_CHILD
    | DELETE
    | WRITE_DAC
    | WRITE_OWNER
    | GENERIC_WRITE
    | GENERIC_ALL;

/// The user of this process, as its token has it.
struct User(Box<[u64; 32]>);

impl User {
    fn own() -> io::Result<Self> {
        let mut token = std::ptr::null_mut();
        // SAFETY: the first stands for this process; the call writes one handle.
        if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just opened it, so nothing else owns it.
        let token = unsafe { OwnedHandle::from_raw_handle(token) };
        // As words, which have the alignment of the structure, and boxed: it has a pointer into itself.
        let mut buffer = Box::new([0_u64; 32]);
        let size = u32::try_from(size_of_val(&*buffer)).map_err(io::Error::other)?;
        let (at, mut used) = (buffer.as_mut_ptr().cast(), 0);
        let token = token.as_raw_handle();
        // SAFETY: the call writes no more than `size` bytes, which are there.
        if unsafe { GetTokenInformation(token, TokenUser, at, size, &raw mut used) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(buffer))
    }

    fn sid(&self) -> PSID {
        // SAFETY: the system has written this structure into the buffer, which has not moved since.
        unsafe { (*self.0.as_ptr().cast::<TOKEN_USER>()).User.Sid }
    }

    /// It is this user, or who may do everything anyway: the system, administrators, and whoever makes
    /// something in a directory, for that.
    ///
    /// # Safety
    ///
    /// `sid` points to a SID.
    unsafe fn trusts(&self, sid: PSID) -> bool {
        let usual = [
            WinLocalSystemSid,
            WinBuiltinAdministratorsSid,
            WinCreatorOwnerSid,
        ];
        // SAFETY: both are SIDs, the other one as the caller says.
        let is_own = unsafe { EqualSid(self.sid(), sid) } != 0;
        // SAFETY: as the caller says.
        is_own
            || usual
                .iter()
                .any(|kind| unsafe { IsWellKnownSid(sid, *kind) } != 0)
    }
}

/// The last part of this user's SID, which tells users of one machine apart.
pub(super) fn own_number() -> Option<u32> {
    let user = User::own().ok()?;
    // SAFETY: a SID that the system has written; it has at least one part, and the last is read.
    unsafe {
        let parts = u32::from(*GetSidSubAuthorityCount(user.sid()));
        Some(*GetSidSubAuthority(user.sid(), parts.checked_sub(1)?))
    }
}

/// This user's own, and nobody else may change it but those who may change everything.
pub(super) fn is_own(path: &Path) -> io::Result<bool> {
    let user = User::own()?;
    let path: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let (mut owner, mut list) = (std::ptr::null_mut(), std::ptr::null_mut());
    let mut description = Description(std::ptr::null_mut());
    let none = std::ptr::null_mut();
    // SAFETY: the path ends with a zero; the call writes three pointers, two of them into the last.
    let code = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
            &raw mut owner,
            none,
            &raw mut list,
            none.cast(),
            &raw mut description.0,
        )
    };
    if code != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    // Without a list everybody may do everything.
    if owner.is_null() || list.is_null() {
        return Ok(false);
    }
    // SAFETY: both are of the description, which is still there.
    Ok(unsafe { user.trusts(owner) && is_changed_by_trusted(list, &user)? })
}

/// What the system has allocated to describe the rights to a file.
struct Description(PSECURITY_DESCRIPTOR);

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: the system has allocated it for its caller to free, or it is null, which is allowed.
        unsafe { LocalFree(self.0) };
    }
}

/// The list lets nobody change the file but those that the user trusts.
///
/// # Safety
///
/// `list` points to an access list.
unsafe fn is_changed_by_trusted(list: *const ACL, user: &User) -> io::Result<bool> {
    // SAFETY: as the caller says.
    let count = u32::from(unsafe { (*list).AceCount });
    for number in 0..count {
        let mut entry = std::ptr::null_mut();
        // SAFETY: the list has that entry, and the call writes a pointer to it.
        if unsafe { GetAce(list, number, &raw mut entry) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: every entry begins with this head.
        let kind = unsafe { (*entry.cast::<ACE_HEADER>()).AceType };
        match kind {
            DENIED => continue,
            ALLOWED => {}
            _ => return Ok(false),
        }
        let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
        // SAFETY: an entry of this kind is this structure, whose last field is the start of a SID.
        let (mask, sid) = unsafe { ((*entry).Mask, (&raw mut (*entry).SidStart).cast()) };
        // SAFETY: likewise.
        if mask & CHANGES != 0 && !unsafe { user.trusts(sid) } {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sys::testing::{is_wine, lacks};

    #[test]
    fn what_this_user_has_made_is_its_own() {
        assert!(own_number().is_some());
        let dir = tempfile::tempdir().unwrap();
        assert!(is_own(dir.path()).unwrap());
        assert!(is_own(&dir.path().join("none")).is_err());
        if lacks(!is_wine(), "program that changes access lists") {
            return;
        }
        let mut allow = Command::new("icacls");
        allow.arg(dir.path()).args(["/grant", "*S-1-1-0:(OI)(CI)M"]);
        assert!(allow.output().unwrap().status.success());
        assert!(!is_own(dir.path()).unwrap());
    }
}
